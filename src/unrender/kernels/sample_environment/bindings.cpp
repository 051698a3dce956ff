#include "bindings.h"

#include <nanobind/ndarray.h>

#include <cstdint>
#include <stdexcept>

#include "cpu.h"
#include "equirect.h"

namespace nb = nanobind;

namespace unrender {
namespace {

template <class Scalar, int dimensions>
using Array = nb::ndarray<Scalar, nb::device::cpu, nb::c_contig, nb::ndim<dimensions>>;
using ViewRows = Array<const double, 2>;
using Hits = Array<const std::int32_t, 2>;

void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

Pyramids make_pyramids(const ViewRows& views, const Hits& hits, int height, int width, int layers) {
  expect(views.shape(1) == kViewNumbers, "views must have as many columns as pack_views gives them");
  expect(height > 0 && width > 0 && layers >= 1 && layers <= 12, "height, width or layers out of range");
  const Pyramids pyramids{views.data(), views.shape(0), height, width, layers};
  expect(pyramids.pixels() < 4294967295U, "too many pixels");
  expect(hits.shape(0) == pyramids.count && hits.shape(1) == pyramids.pixels(), "counts must be [V, P]");
  return pyramids;
}

template <class Texture>
Map make_map(const Texture& texture) {
  const Map map{int(texture.shape(0)), int(texture.shape(1)), int(texture.shape(2))};
  expect(map.height > 0 && map.width > 0, "an environment map must have texels");
  expect(map.texels() < 2147483647U, "too many texels");
  return map;
}

void fill(const Array<const float, 3>& drawn, const Hits& hits, const Array<const float, 3>& texture,
          const ViewRows& views, Array<float, 3> filled, int height, int width, int layers, int threads) {
  const Pyramids pyramids = make_pyramids(views, hits, height, width, layers);
  const Map map = make_map(texture);
  for (const auto& features : {nb::ndarray<>(drawn), nb::ndarray<>(filled)})
    expect(features.shape(0) == pyramids.count && features.shape(1) == pyramids.pixels() &&
               features.shape(2) == std::size_t(map.channels),
           "features must be [V, P, D]");
  nb::gil_scoped_release free;
  fill_environment(pyramids, map, texture.data(), hits.data(), drawn.data(), filled.data(), threads);
}

void pull(const nb::ndarray<const float, nb::device::cpu, nb::ndim<3>>& gradient, const Hits& hits,
          const ViewRows& views, Array<float, 3> texture, int height, int width, int layers, int threads) {
  const Pyramids pyramids = make_pyramids(views, hits, height, width, layers);
  const Map map = make_map(texture);
  expect(gradient.shape(0) == pyramids.count && gradient.shape(1) == pyramids.pixels() &&
             gradient.shape(2) == std::size_t(map.channels),
         "the features' gradient must be [V, P, D]");
  const std::ptrdiff_t step[3] = {gradient.stride(0), gradient.stride(1), gradient.stride(2)};
  nb::gil_scoped_release free;
  pull_environment(pyramids, map, gradient.data(), step, hits.data(), texture.data(), threads);
}

// For tests: slopes [K, 2] that the lens with k1 k2 p1 p2 and the largest squared slope maps to `plane` [K, 2].
void undistort_all(const Array<const double, 2>& plane, Array<double, 2> slopes, double k1, double k2, double p1,
                   double p2, double valid) {
  expect(plane.shape(1) == 2 && slopes.shape(1) == 2 && plane.shape(0) == slopes.shape(0), "both must be [K, 2]");
  for (std::size_t i = 0; i < plane.shape(0); ++i) {
    const Slopes found = undistort({k1, k2, p1, p2, valid}, plane(i, 0), plane(i, 1));
    slopes(i, 0) = found.x, slopes(i, 1) = found.y;
  }
}

// For tests: directions [K, 3] in camera axes through `pixels` [K, 2] of a view, a row [R].
void unproject_pixels(const Array<const double, 1>& row, const Array<const double, 2>& pixels,
                      Array<double, 2> directions) {
  expect(row.shape(0) == kViewNumbers, "a view must have as many numbers as pack_views gives it");
  expect(pixels.shape(1) == 2 && directions.shape(1) == 3 && pixels.shape(0) == directions.shape(0),
         "pixels must be [K, 2], directions [K, 3]");
  const LensOf<double> lens = read_gaze(row.data()).lens;
  with_family(lens, [&](auto its) {
    for (std::size_t i = 0; i < pixels.shape(0); ++i) {
      const double u = (pixels(i, 0) - lens.cx) / lens.fx, v = (pixels(i, 1) - lens.cy) / lens.fy;
      const Way way = unproject<decltype(its)::family>(lens, u, v);
      directions(i, 0) = way.x, directions(i, 1) = way.y, directions(i, 2) = way.z;
    }
  });
}

}  // namespace

void bind_environment(nb::module_& m) {
  m.def("fill_environment", &fill, nb::arg("drawn"), nb::arg("counts"), nb::arg("texture"), nb::arg("views"),
        nb::arg("filled"), nb::arg("height"), nb::arg("width"), nb::arg("layers"), nb::arg("threads"));
  m.def("pull_environment", &pull, nb::arg("gradient"), nb::arg("counts"), nb::arg("views"), nb::arg("texture"),
        nb::arg("height"), nb::arg("width"), nb::arg("layers"), nb::arg("threads"),
        "The gradient is added to texture.");
  m.def("unproject", &unproject_pixels, nb::arg("row"), nb::arg("pixels"), nb::arg("directions"));
  m.def("undistort", &undistort_all, nb::arg("plane"), nb::arg("slopes"), nb::arg("k1"), nb::arg("k2"), nb::arg("p1"),
        nb::arg("p2"), nb::arg("valid"));
}

}  // namespace unrender
