#include "schema/site.h"

#include <array>
#include <charconv>

namespace pets::schema {
namespace {

struct SiteSuffix {
  SiteKind kind;
  bool per_layer;
  std::string_view name;  // after "layer.N." where per_layer
};

constexpr std::array<SiteSuffix, 16> kSites = {{
    {SiteKind::kEmbeddingsWord, false, "embeddings.word"},
    {SiteKind::kEmbeddingsPosition, false, "embeddings.position"},
    {SiteKind::kEmbeddingsTokenType, false, "embeddings.token_type"},
    {SiteKind::kEmbeddingsNorm, false, "embeddings.norm"},
    {SiteKind::kAttentionQuery, true, "attention.query"},
    {SiteKind::kAttentionKey, true, "attention.key"},
    {SiteKind::kAttentionValue, true, "attention.value"},
    {SiteKind::kAttentionOutput, true, "attention.output"},
    {SiteKind::kAttentionNorm, true, "attention.norm"},
    {SiteKind::kFfnUp, true, "ffn.up"},
    {SiteKind::kFfnDown, true, "ffn.down"},
    {SiteKind::kFfnNorm, true, "ffn.norm"},
    {SiteKind::kAttention, true, "attention"},
    {SiteKind::kFfn, true, "ffn"},
    {SiteKind::kPooler, false, "pooler"},
    {SiteKind::kHead, false, "head"},
}};

const SiteSuffix* find(SiteKind kind) {
  for (const SiteSuffix& site : kSites) {
    if (site.kind == kind) return &site;
  }
  return nullptr;
}

}  // namespace

bool is_layer_site(SiteKind kind) {
  const SiteSuffix* site = find(kind);
  return site != nullptr && site->per_layer;
}

bool is_linear_site(SiteKind kind) {
  return (kind >= SiteKind::kAttentionQuery && kind <= SiteKind::kAttentionOutput) || kind == SiteKind::kFfnUp ||
         kind == SiteKind::kFfnDown;
}

bool is_norm_site(SiteKind kind) {
  return kind == SiteKind::kEmbeddingsNorm || kind == SiteKind::kAttentionNorm || kind == SiteKind::kFfnNorm;
}

bool is_embedding_site(SiteKind kind) { return kind >= SiteKind::kEmbeddingsWord && kind <= SiteKind::kEmbeddingsTokenType; }

bool is_bottleneck_site(SiteKind kind) { return kind == SiteKind::kAttention || kind == SiteKind::kFfn; }

std::string site_name(Site site) {
  const SiteSuffix* found = find(site.kind);
  if (found == nullptr) return "unknown site " + std::to_string(static_cast<unsigned>(site.kind));
  if (!found->per_layer) return std::string(found->name);
  return "layer." + std::to_string(site.layer) + "." + std::string(found->name);
}

std::optional<Site> parse_site(std::string_view name) {
  Site site;
  bool per_layer = false;
  constexpr std::string_view kLayer = "layer.";
  if (name.starts_with(kLayer)) {
    name.remove_prefix(kLayer.size());
    const size_t dot = name.find('.');
    if (dot == std::string_view::npos || dot == 0 || (dot > 1 && name[0] == '0')) return std::nullopt;
    const auto [end, error] = std::from_chars(name.data(), name.data() + dot, site.layer);
    if (error != std::errc() || end != name.data() + dot) return std::nullopt;
    name.remove_prefix(dot + 1);
    per_layer = true;
  }
  for (const SiteSuffix& suffix : kSites) {
    if (suffix.per_layer == per_layer && suffix.name == name) {
      site.kind = suffix.kind;
      return site;
    }
  }
  return std::nullopt;
}

}  // namespace pets::schema
