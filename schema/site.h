// Sites: the named places of the base where a PET operator acts. The one place where their names are written down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "schema/bundle_generated.h"

namespace pets::schema {

/// A place in the base. `layer` is 0 for sites outside the encoder's layers.
struct Site {
  SiteKind kind = SiteKind::kUnknown;
  uint32_t layer = 0;
  friend bool operator==(const Site&, const Site&) = default;
};

/// True for the sites that exist once per encoder layer.
bool is_layer_site(SiteKind kind);
/// True for attention.{query,key,value,output} and ffn.{up,down}.
bool is_linear_site(SiteKind kind);
/// True for embeddings.norm, attention.norm and ffn.norm.
bool is_norm_site(SiteKind kind);
/// True for embeddings.{word,position,token_type}.
bool is_embedding_site(SiteKind kind);
/// True for layer.N.attention and layer.N.ffn.
bool is_bottleneck_site(SiteKind kind);

/// "layer.3.attention.query", "embeddings.word", ...
std::string site_name(Site site);
/// The inverse of `site_name`; nothing for a text that names no site (leading zeros and signs are refused).
std::optional<Site> parse_site(std::string_view name);

}  // namespace pets::schema
