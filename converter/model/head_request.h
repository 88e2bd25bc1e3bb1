// What the manifest asks of a head, laid over what the source says of it.
#pragma once

#include <string>

#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// Outputs of the head's last layer; 0 without layers.
uint64_t head_outputs(const HeadSpec& head);

/// Completes `head`, as read from `where` (a file, for messages), with the request:
///   - type: a sequence head may serve as sequence-classification, multi-label-classification or regression, a token head as
///     token-classification or question-answering, where the number of outputs allows it; a source without a head as `embedding`.
///   - pooling: decided by the source where it has a head, and a request that contradicts it is refused; an embedding needs it.
///   - labels: as many as outputs; without any, LABEL_0, LABEL_1, ...
/// `head->type` kUnknown means that the source has no head.
Status apply_head_request(const HeadRequest& request, const std::string& where, HeadSpec* head);

}  // namespace pets::converter
