// Errors as values. The library never throws, aborts or prints.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace pets {

enum class ErrorCode : int {
  kOk = 0,
  kInvalidArgument,    ///< the caller's mistake: ids beyond the vocabulary, invalid UTF-8, options out of range
  kNotFound,           ///< no such file, no such task
  kIo,                 ///< the operating system refused: the message holds its reason
  kDamaged,            ///< a file fails its checksums or its validation
  kUnsupported,        ///< a newer version, an unknown layout, a backend that is not built in
  kMismatch,           ///< a task that belongs to another base
  kResourceExhausted,  ///< a memory limit or a planned capacity would be exceeded
  kInternal,
  kCancelled,         ///< the caller took the query back, or the server stopped
  kDeadlineExceeded,  ///< the query's deadline passed before it ran
  kUnavailable        ///< the server was stopped, or its worker failed for good
};

/// The outcome of an operation. Holds its message inline, so that making, copying and destroying one never allocates.
class [[nodiscard]] Status {
 public:
  static constexpr std::size_t kMaxMessage = 480;  ///< bytes; longer messages are cut at a UTF-8 boundary and end in "..."

  Status() noexcept { message_[0] = '\0'; }
  Status(const Status& other) noexcept { assign(other); }
  Status& operator=(const Status& other) noexcept {
    if (this != &other) assign(other);
    return *this;
  }

  static Status ok() noexcept { return Status(); }
  /// An error with a printf-style message: one line that names the file, the thing, what was expected and what was found. Control
  /// characters in it become '?'.
  [[gnu::format(printf, 2, 3)]] static Status error(ErrorCode code, const char* format, ...) noexcept;

  bool is_ok() const noexcept { return code_ == ErrorCode::kOk; }
  explicit operator bool() const noexcept { return is_ok(); }
  ErrorCode code() const noexcept { return code_; }
  /// Empty when ok. NUL-terminated.
  std::string_view message() const noexcept { return {message_, length_}; }
  const char* c_str() const noexcept { return message_; }

 private:
  void assign(const Status& other) noexcept {
    code_ = other.code_;
    length_ = other.length_;
    std::memcpy(message_, other.message_, other.length_ + 1);
  }

  ErrorCode code_ = ErrorCode::kOk;
  std::size_t length_ = 0;
  char message_[kMaxMessage];
};

/// A value or an error. `value()` may be read only when `is_ok()`.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : has_value_(true) { ::new (&value_) T(std::move(value)); }
  Result(const Status& status) noexcept : has_value_(false) { ::new (&status_) Status(status); }
  Result(Result&& other) noexcept : has_value_(other.has_value_) {
    if (has_value_) {
      ::new (&value_) T(std::move(other.value_));
    } else {
      ::new (&status_) Status(other.status_);
    }
  }
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      this->~Result();
      ::new (this) Result(std::move(other));
    }
    return *this;
  }
  ~Result() {
    if (has_value_) {
      value_.~T();
    } else {
      status_.~Status();
    }
  }

  bool is_ok() const noexcept { return has_value_; }
  explicit operator bool() const noexcept { return has_value_; }
  Status status() const noexcept { return has_value_ ? Status() : status_; }
  T& value() & noexcept { return value_; }
  const T& value() const& noexcept { return value_; }
  T&& value() && noexcept { return std::move(value_); }
  T& operator*() & noexcept { return value_; }
  const T& operator*() const& noexcept { return value_; }
  T* operator->() noexcept { return &value_; }
  const T* operator->() const noexcept { return &value_; }

 private:
  bool has_value_;
  union {
    T value_;
    Status status_;
  };
};

}  // namespace pets
