#include "converter/huggingface/bert_names.h"

#include <array>
#include <charconv>

namespace pets::converter {
namespace {

struct ModuleName {
  SiteKind kind;
  bool per_layer;
  std::string_view name;  // after "encoder.layer.N." where per_layer
};

constexpr std::array<ModuleName, 13> kModules = {{
    {SiteKind::kEmbeddingsWord, false, "embeddings.word_embeddings"},
    {SiteKind::kEmbeddingsPosition, false, "embeddings.position_embeddings"},
    {SiteKind::kEmbeddingsTokenType, false, "embeddings.token_type_embeddings"},
    {SiteKind::kEmbeddingsNorm, false, "embeddings.LayerNorm"},
    {SiteKind::kAttentionQuery, true, "attention.self.query"},
    {SiteKind::kAttentionKey, true, "attention.self.key"},
    {SiteKind::kAttentionValue, true, "attention.self.value"},
    {SiteKind::kAttentionOutput, true, "attention.output.dense"},
    {SiteKind::kAttentionNorm, true, "attention.output.LayerNorm"},
    {SiteKind::kFfnUp, true, "intermediate.dense"},
    {SiteKind::kFfnDown, true, "output.dense"},
    {SiteKind::kFfnNorm, true, "output.LayerNorm"},
    {SiteKind::kPooler, false, "pooler.dense"},
}};

constexpr std::string_view kLayerPrefix = "encoder.layer.";

void replace_ending(std::string& name, std::string_view ending, std::string_view replacement) {
  if (name.ends_with(ending)) name.replace(name.size() - ending.size(), ending.size(), replacement);
}

}  // namespace

std::string normalise_tensor_name(std::string_view name) {
  constexpr std::string_view kPrefix = "bert.";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  std::string result(name);
  replace_ending(result, "LayerNorm.gamma", "LayerNorm.weight");
  replace_ending(result, "LayerNorm.beta", "LayerNorm.bias");
  return result;
}

std::optional<Site> site_of_module(std::string_view module) {
  Site site;
  bool per_layer = false;
  if (module.starts_with(kLayerPrefix)) {
    module.remove_prefix(kLayerPrefix.size());
    const size_t dot = module.find('.');
    if (dot == std::string_view::npos || dot == 0 || (dot > 1 && module[0] == '0')) return std::nullopt;
    const auto [end, error] = std::from_chars(module.data(), module.data() + dot, site.layer);
    if (error != std::errc() || end != module.data() + dot) return std::nullopt;
    module.remove_prefix(dot + 1);
    per_layer = true;
  }
  for (const ModuleName& known : kModules) {
    if (known.per_layer == per_layer && known.name == module) {
      site.kind = known.kind;
      return site;
    }
  }
  return std::nullopt;
}

std::string module_of_site(Site site) {
  for (const ModuleName& known : kModules) {
    if (known.kind != site.kind) continue;
    if (!known.per_layer) return std::string(known.name);
    return std::string(kLayerPrefix) + std::to_string(site.layer) + "." + std::string(known.name);
  }
  return schema::site_name(site);
}

std::optional<Place> place_of_tensor(std::string_view normalised) {
  const size_t dot = normalised.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view part = normalised.substr(dot + 1);
  if (part != "weight" && part != "bias") return std::nullopt;
  const std::optional<Site> site = site_of_module(normalised.substr(0, dot));
  if (!site || (schema::is_embedding_site(site->kind) && part == "bias")) return std::nullopt;
  return Place{*site, part == "bias"};
}

std::string tensor_of_place(Place place) { return module_of_site(place.site) + (place.is_bias ? ".bias" : ".weight"); }

std::vector<Place> encoder_places(uint32_t layers, bool with_pooler) {
  std::vector<Place> places;
  const auto add = [&](const ModuleName& module, uint32_t layer) {
    const Site site{module.kind, layer};
    places.push_back({site, false});
    if (!schema::is_embedding_site(module.kind)) places.push_back({site, true});
  };
  for (const ModuleName& module : kModules) {
    if (!module.per_layer && module.kind != SiteKind::kPooler) add(module, 0);
  }
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (const ModuleName& module : kModules) {
      if (module.per_layer) add(module, layer);
    }
  }
  if (with_pooler) add(kModules.back(), 0);
  return places;
}

std::vector<uint64_t> shape_of_place(const BaseModel& base, Place place) {
  const uint64_t hidden = base.hidden;
  switch (place.site.kind) {
    case SiteKind::kEmbeddingsWord:
      return {base.vocabulary, hidden};
    case SiteKind::kEmbeddingsPosition:
      return {base.positions, hidden};
    case SiteKind::kEmbeddingsTokenType:
      return {base.token_types, hidden};
    case SiteKind::kFfnUp:
      return place.is_bias ? std::vector<uint64_t>{base.intermediate} : std::vector<uint64_t>{base.intermediate, hidden};
    case SiteKind::kFfnDown:
      return place.is_bias ? std::vector<uint64_t>{hidden} : std::vector<uint64_t>{hidden, base.intermediate};
    default:
      if (place.is_bias || schema::is_norm_site(place.site.kind)) return {hidden};
      return {hidden, hidden};
  }
}

std::vector<float>* values_of_place(BaseModel& base, Place place) {
  switch (place.site.kind) {
    case SiteKind::kEmbeddingsWord:
      return &base.word_embeddings.values;
    case SiteKind::kEmbeddingsPosition:
      return &base.position_embeddings.values;
    case SiteKind::kEmbeddingsTokenType:
      return &base.token_type_embeddings.values;
    default:
      break;
  }
  if (LinearWeights* linear = base.linear(place.site)) return place.is_bias ? &linear->bias : &linear->weight.values;
  if (const NormWeights* norm = base.norm(place.site)) return const_cast<std::vector<float>*>(place.is_bias ? &norm->beta : &norm->gamma);
  return nullptr;
}

const std::vector<float>* values_of_place(const BaseModel& base, Place place) {
  return values_of_place(const_cast<BaseModel&>(base), place);
}

bool is_buffer_or_lm_head(std::string_view normalised) {
  return normalised == "embeddings.position_ids" || normalised == "embeddings.token_type_ids" || normalised.starts_with("cls.");
}

bool is_task_head(std::string_view normalised) { return normalised.starts_with("classifier.") || normalised.starts_with("qa_outputs."); }

}  // namespace pets::converter
