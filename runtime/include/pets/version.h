// The library's version: semantic versioning, see docs/versioning.md.
#pragma once

#define PETS_VERSION_MAJOR 0
#define PETS_VERSION_MINOR 1
#define PETS_VERSION_PATCH 0
#define PETS_VERSION_STRING "0.1.0"
