// The base of a bundle as a BaseModel again, so that tasks can be added to a bundle without the directory that it was packed from.
#pragma once

#include "converter/bundle/bundle_writer.h"
#include "converter/model/base_model.h"
#include "runtime/bundle/bundle_file.h"

namespace pets::converter {

/// Exact for a bundle of precision fp32; weights in another are widened: what the engine computes with, not what was packed. Not in a
/// bundle, hence empty: id2label, problem_type.
BaseModel base_of_bundle(const bundle::BundleFile& file);

/// How the linear weights of the base's layers are stored.
Precision precision_of_bundle(const bundle::BundleFile& file);
/// What the base was packed for.
Target target_of_bundle(const bundle::BundleFile& file);

}  // namespace pets::converter
