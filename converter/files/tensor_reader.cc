#include "converter/files/tensor_reader.h"

#include "converter/files/message_text.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

bool fits(const std::vector<uint64_t>& expected, const std::vector<uint64_t>& found) {
  if (expected.size() != found.size()) return false;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == TensorReader::kAny ? found[i] == 0 : expected[i] != found[i]) return false;
  }
  return true;
}

std::string expected_text(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (const uint64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += size == TensorReader::kAny ? "any" : std::to_string(size);
  }
  return text + "]";
}

}  // namespace

Result<const SafeTensor*> TensorReader::take(const std::string& name, const std::vector<uint64_t>& shape) {
  const SafeTensor* tensor = file_->find(name);
  if (tensor == nullptr) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: the tensor `%s` is missing; expected shape %s", file_->path().c_str(),
                         utf8::printable(name, 200).c_str(), expected_text(shape).c_str());
  }
  if (!fits(shape, tensor->shape)) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: tensor `%s`: expected shape %s, found %s", file_->path().c_str(),
                         utf8::printable(name, 200).c_str(), expected_text(shape).c_str(), shape_text(tensor->shape).c_str());
  }
  taken_.insert(name);
  return tensor;
}

Result<Matrix> TensorReader::matrix(const std::string& name, uint64_t rows, uint64_t columns) {
  PETS_ASSIGN_OR_RETURN(const SafeTensor* tensor, take(name, {rows, columns}));
  PETS_ASSIGN_OR_RETURN(std::vector<float> values, to_floats(*file_, *tensor));
  return Matrix{tensor->shape[0], tensor->shape[1], std::move(values)};
}

Result<std::vector<float>> TensorReader::vector(const std::string& name, uint64_t size) {
  PETS_ASSIGN_OR_RETURN(const SafeTensor* tensor, take(name, {size}));
  return to_floats(*file_, *tensor);
}

Status TensorReader::check_all_taken() const {
  for (const SafeTensor& tensor : file_->tensors()) {
    if (taken_.contains(tensor.name)) continue;
    return Status::error(ErrorCode::kUnsupported, "%s: the tensor `%s` of shape %s is not used by anything the configuration says",
                         file_->path().c_str(), utf8::printable(tensor.name, 200).c_str(), shape_text(tensor.shape).c_str());
  }
  return {};
}

}  // namespace pets::converter
