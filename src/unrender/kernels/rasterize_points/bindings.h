// The point rasteriser, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>

namespace unrender {

void bind_points(nanobind::module_& m);

}  // namespace unrender
