// Backends by the names that command lines have for them.
#pragma once

#include <string>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets::benchmarks {

inline Backend backend_named(const std::string& name) { return name == "cuda" ? Backend::kCuda : Backend::kCpu; }

/// An error where models cannot be loaded for the backend: by a tiny one, before a large one is made.
inline Status backend_works(Backend backend) {
  if (backend == Backend::kCpu) return Status::ok();
  const testing_util::TemporaryFile file("tiny.pets");
  testing_util::write_random_bundle(file.path(), testing_util::random_base({16, 1, 1, 16, 16, 16, 2}, 1), {});
  ModelOptions options;
  options.backend = backend;
  return Model::load(file.c_str(), options).status();
}

}  // namespace pets::benchmarks
