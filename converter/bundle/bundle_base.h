// The base of a bundle as a BaseModel again, so that tasks can be added to a bundle without the directory that it was packed from.
#pragma once

#include "converter/bundle/bundle_writer.h"
#include "converter/model/base_model.h"
#include "runtime/bundle/bundle_file.h"

namespace pets::converter {

/// Exact for a bundle of precision fp32; weights stored as fp16 are widened. Not in a bundle, hence empty: id2label, problem_type.
BaseModel base_of_bundle(const bundle::BundleFile& file);

/// How the base's linear weights are stored.
Precision precision_of_bundle(const bundle::BundleFile& file);

}  // namespace pets::converter
