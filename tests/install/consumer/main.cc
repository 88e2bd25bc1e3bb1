// Reaches into the library far enough that every one of its own dependencies must have been linked.
#include <pets/pets.h>

#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  const char* const path = argc > 1 ? argv[1] : "/nonexistent/file.pets";
  auto model = pets::Model::load(path);
  std::printf("pets %s: %s\n", PETS_VERSION_STRING, model ? "loaded" : model.status().c_str());
  if (!model) return argc > 1 || std::strstr(model.status().c_str(), path) == nullptr ? 1 : 0;
  auto session = pets::Session::create(*model);
  return session ? 0 : 1;
}
