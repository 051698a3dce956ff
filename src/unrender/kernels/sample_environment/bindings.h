// What unrender.kernels._native offers of this folder.
#pragma once

#include <nanobind/nanobind.h>

namespace unrender {

void bind_environment(nanobind::module_& m);

}  // namespace unrender
