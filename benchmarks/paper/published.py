"""What the paper says, beside which ours is printed: numbers, and where each can be found.

The abstract is public. The bars are read off the plots that the authors ship with their artifact, github.com/PKUZHOU/PetS-ATC-2022, folder
research/reproduced_figures/for_reference (BERT-base, to about 0.01 of a bar; None: the plot's legend covers it). The paper's own plots may differ
by what a second run does.
"""

PAPER = 'Zhou et al., "PetS: A Unified Framework for Parameter-Efficient Transformers Serving", USENIX ATC 2022'
ARTIFACT = "the authors' artifact, github.com/PKUZHOU/PetS-ATC-2022, research/reproduced_figures/for_reference"
GPUS = ("GTX 1080 Ti", "V100")
ABSTRACT = "throughput 1.53x on desktop and 1.63x on server GPUs, up to 26 times more concurrent tasks (25 on the conference's page)"

# Figure 7 (section 6.2.2): queries a second of so many tasks, by those of a single one. {(queries, length): {tasks: ratio}}
FIGURE_7 = {
    "GTX 1080 Ti": {(1, 128): {16: 1.89, 32: 1.81, 64: 1.96}, (2, 64): {16: 1.88, 32: 1.73, 64: 1.88}, (4, 32): {16: 1.75, 32: None, 64: 1.82}},
    "V100": {(1, 128): {16: 1.72, 32: 1.73, 64: 1.84}, (2, 64): {16: 1.68, 32: 1.57, 64: 1.72}, (4, 32): {16: 1.52, 32: None, 64: 1.69}},
}

# Figure 8 (section 6.2.3): queries a second by tasks. The two GPUs' plots are of different queries.
FIGURE_8 = {
    "GTX 1080 Ti": {
        "queries": 2, "length": 32, "tasks": (2, 4, 8, 16),
        "sequential": (461, 451, 526, 537), "parallel": (708, 802, 811, 858), "shared": (467, 582, 765, 844),
    },
    "V100": {
        "queries": 1, "length": 128, "tasks": (2, 4, 8, 16),
        "sequential": (192, 189, 198, 190), "parallel": (319, 375, 345, 369), "shared": (281, 320, 355, 367),
    },
}  # fmt: skip

# Figure 11 (section 6.3.3): the best of 1 to 32 streams by one stream, over lengths 4 to 64. {tasks: (least, most)}
FIGURE_11 = {"GTX 1080 Ti": {128: (1.09, 1.16), 64: (1.07, 1.16), 32: (1.04, 1.18)}, "V100": {128: (1.00, 1.13), 64: (1.00, 1.13), 32: (1.02, 1.15)}}

# Figure 12: queries a second by those of fixed batches of 32. {sigma: {tasks: (beta, alpha, coordinated)}}
FIGURE_12 = {
    "GTX 1080 Ti": {
        1: {128: (1.08, 1.27, 1.39), 64: (1.18, 1.33, 1.34), 32: (1.25, 1.33, 1.35)},
        2: {128: (1.09, 1.31, 1.40), 64: (1.19, 1.35, 1.36), 32: (1.23, 1.36, 1.33)},
        4: {128: (1.17, 1.49, 1.49), 64: (1.26, 1.55, 1.42), 32: (1.27, 1.56, 1.40)},
        8: {128: (1.16, 1.60, 1.41), 64: (1.23, 1.66, 1.38), 32: (1.26, 1.66, 1.41)},
    },
    "V100": {
        1: {128: (1.33, 1.36, 1.74), 64: (1.46, 1.46, 1.68), 32: (1.48, 1.50, 1.62)},
        2: {128: (1.33, 1.39, 1.67), 64: (1.46, 1.48, 1.65), 32: (1.46, 1.54, 1.58)},
        4: {128: (1.33, 1.48, 1.66), 64: (1.43, 1.61, 1.63), 32: (1.45, 1.65, 1.58)},
        8: {128: (1.33, 1.60, 1.62), 64: (1.43, 1.73, 1.58), 32: (1.46, 1.78, 1.58)},
    },
}
