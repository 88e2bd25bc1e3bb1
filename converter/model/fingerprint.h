// What makes two bases the same for a task.
#pragma once

#include <string>

#include "converter/model/base_model.h"

namespace pets::converter {

/// XXH3-128 (seed 0, 32 hexadecimal digits, high half first) of, in this order:
///   1. one line of text: "bert hidden=H layers=L heads=A intermediate=I vocabulary=V positions=P token_types=T epsilon=E activation=N\n",
///      E with 9 significant digits (%.9g), N the schema's number of the activation;
///   2. every parameter in the order of `encoder_places` (embeddings, layers, pooler if there is one): its normalised name (no `bert.`
///      prefix, LayerNorm.weight/bias), a space, its shape ("[48, 112]"), "\n", then its values as little-endian float32;
///   3. "tokenizer\n" and the tokenizer's canonical text (empty where the base has none).
/// So neither the prefix, sharding, old tensor names, nor a lossless change of the stored type changes a fingerprint; what a directory
/// carries beside the encoder does not enter it.
std::string base_fingerprint(const BaseModel& base);

}  // namespace pets::converter
