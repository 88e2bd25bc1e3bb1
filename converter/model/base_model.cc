#include "converter/model/base_model.h"

namespace pets::converter {

LinearWeights* BaseModel::linear(Site site) {
  if (site.kind == SiteKind::kPooler) return pooler ? &*pooler : nullptr;
  if (site.layer >= encoder.size()) return nullptr;
  LayerWeights& layer = encoder[site.layer];
  switch (site.kind) {
    case SiteKind::kAttentionQuery:
      return &layer.query;
    case SiteKind::kAttentionKey:
      return &layer.key;
    case SiteKind::kAttentionValue:
      return &layer.value;
    case SiteKind::kAttentionOutput:
      return &layer.attention_output;
    case SiteKind::kFfnUp:
      return &layer.up;
    case SiteKind::kFfnDown:
      return &layer.down;
    default:
      return nullptr;
  }
}

const LinearWeights* BaseModel::linear(Site site) const { return const_cast<BaseModel*>(this)->linear(site); }

const NormWeights* BaseModel::norm(Site site) const {
  if (site.kind == SiteKind::kEmbeddingsNorm) return &embeddings_norm;
  if (site.layer >= encoder.size()) return nullptr;
  if (site.kind == SiteKind::kAttentionNorm) return &encoder[site.layer].attention_norm;
  return site.kind == SiteKind::kFfnNorm ? &encoder[site.layer].ffn_norm : nullptr;
}

}  // namespace pets::converter
