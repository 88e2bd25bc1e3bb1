// The names of BERT's modules and tensors in Hugging Face files, and the sites they are. The one place where they are written down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "converter/model/base_model.h"
#include "converter/model/operators.h"

namespace pets::converter {

/// One parameter of the encoder: a linear's weight or bias, a norm's gamma (weight) or beta (bias), an embedding table (weight).
struct Place {
  Site site;
  bool is_bias = false;
  friend bool operator==(const Place&, const Place&) = default;
};

/// `name` without the task models' `bert.` prefix, and with TensorFlow's old LayerNorm.gamma/beta as weight/bias.
std::string normalise_tensor_name(std::string_view name);
/// "encoder.layer.3.attention.self.query" (no prefix) -> layer.3.attention.query; nothing for what is no site of the base.
std::optional<Site> site_of_module(std::string_view module);
/// The inverse of `site_of_module`.
std::string module_of_site(Site site);
/// "encoder.layer.3.output.dense.bias" (normalised) -> its place.
std::optional<Place> place_of_tensor(std::string_view normalised);
std::string tensor_of_place(Place place);

/// Every parameter of an encoder, in the fixed order that the fingerprint uses.
std::vector<Place> encoder_places(uint32_t layers, bool with_pooler);
/// The shape that the base's dimensions give to a place.
std::vector<uint64_t> shape_of_place(const BaseModel& base, Place place);
/// Where the base keeps a place's values.
std::vector<float>* values_of_place(BaseModel& base, Place place);
const std::vector<float>* values_of_place(const BaseModel& base, Place place);

/// True for what a task model's directory carries beside the encoder and that never enters it: buffers (`position_ids`), language-model
/// heads (`cls.*`).
bool is_buffer_or_lm_head(std::string_view normalised);
/// True for a task head's tensors: `classifier.*`, `qa_outputs.*`.
bool is_task_head(std::string_view normalised);

}  // namespace pets::converter
