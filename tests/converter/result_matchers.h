// What the readers' tests say of results.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "pets/status.h"

namespace pets::converter::testing {

template <typename T>
::testing::AssertionResult is_ok(const Result<T>& result) {
  if (result) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << result.status().c_str();
}
inline ::testing::AssertionResult is_ok(const Status& status) {
  if (status) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << status.c_str();
}

/// An error of one line that holds every one of `parts`.
template <typename R, typename... Parts>
::testing::AssertionResult is_refused(const R& result, const Parts&... parts) {
  if (result) return ::testing::AssertionFailure() << "was accepted";
  std::string message;
  if constexpr (requires { result.status(); }) {
    message = result.status().c_str();
  } else {
    message = result.c_str();
  }
  if (message.find('\n') != std::string::npos) return ::testing::AssertionFailure() << "more than one line: " << message;
  for (const std::string_view part : {std::string_view(parts)...}) {
    if (message.find(part) == std::string::npos) return ::testing::AssertionFailure() << "no `" << part << "` in: " << message;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace pets::converter::testing
