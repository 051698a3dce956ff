#include "bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <vector>

#include "rasterizer.h"
#include "spatial_cpu.h"

namespace nb = nanobind;

namespace unrender {

namespace {

template <class Scalar, class... Shape>
using Array = nb::ndarray<Scalar, nb::device::cpu, nb::c_contig, Shape...>;
using Rows = Array<const float, nb::ndim<2>>;
using Descriptors = nb::ndarray<nb::ro, nb::device::cpu, nb::c_contig, nb::ndim<2>>;  // of any precision
using Values = Array<const float, nb::ndim<1>>;
using Images = Array<const float, nb::ndim<3>>;
using ViewRows = Array<const double, nb::ndim<2>>;

void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

std::vector<View> read_views(const ViewRows& rows) {
  expect(rows.shape(1) == kViewFloats, "views must have as many columns as a View has numbers");
  std::vector<View> views(rows.shape(0));
  for (std::size_t view = 0; view < views.size(); ++view) {
    std::array<float, kViewFloats> numbers;
    std::transform(&rows(view, 0), &rows(view, 0) + kViewFloats, numbers.begin(), [](double x) { return float(x); });
    std::memcpy(&views[view], numbers.data(), sizeof(View));
  }
  return views;
}

Settings make_settings(int height, int width, int layers, double alpha, double gamma, double ghosts,
                       std::int64_t seed) {
  expect(height > 0 && width > 0 && layers >= 1 && layers <= 12, "height, width or layers out of range");
  return {height,
          width,
          layers,
          static_cast<float>(alpha),
          static_cast<float>(1.0 + alpha),
          static_cast<float>(gamma),
          static_cast<std::uint32_t>(std::min(std::max(ghosts, 0.0) * 4294967296.0, 4294967295.0)),
          static_cast<std::uint64_t>(seed)};
}

Rasterizer* make_rasterizer(const Rows& position, const Rows& normal, const Values& radius, const Values& threshold,
                            int threads) {
  const std::size_t points = position.shape(0);
  expect(position.shape(1) == 3 && normal.shape(1) == 3, "position and normal must be [N, 3]");
  expect(normal.shape(0) == points && radius.shape(0) == points && threshold.shape(0) == points,
         "position, normal, radius and threshold must have one N");
  expect(points < 4294967295U, "too many points");
  nb::gil_scoped_release free;
  return new Rasterizer(position.data(), normal.data(), radius.data(), threshold.data(), points, threads);
}

Precision precision_of(nb::dlpack::dtype type) {
  if (type == nb::dtype<float>()) return Precision::float32;
  expect(type.bits == 16 && type.lanes == 1, "descriptors must be float32, float16 or bfloat16");
  if (type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat)) return Precision::bfloat16;
  expect(type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), "descriptors must be of real numbers");
  return Precision::float16;
}

void forward(Rasterizer& self, const ViewRows& rows, const Descriptors& descriptors, Array<float, nb::ndim<3>> features,
             Array<std::int32_t, nb::ndim<2>> count, Array<float, nb::ndim<2>> depth, int height, int width,
             int layers, double alpha, double gamma, double ghosts, std::int64_t seed, int threads) {
  const auto views = read_views(rows);
  const Settings settings = make_settings(height, width, layers, alpha, gamma, ghosts, seed);
  const std::size_t pixels = settings.pixels();
  expect(features.shape(0) == views.size() && features.shape(1) == pixels && features.shape(2) == descriptors.shape(1),
         "features must be [V, P, D]");
  expect(count.shape(0) == views.size() && count.shape(1) == pixels, "count must be [V, P]");
  expect(depth.shape(0) == views.size() && depth.shape(1) == pixels, "depth must be [V, P]");
  expect(descriptors.shape(0) == self.scene_points(), "descriptors must be [N, D]");
  const Forward tensors{descriptors.data(), precision_of(descriptors.dtype()), features.data(), count.data(),
                        depth.data()};
  nb::gil_scoped_release free;
  self.forward(views.data(), views.size(), settings, static_cast<int>(descriptors.shape(1)), tensors, threads);
}

void backward(Rasterizer& self, const ViewRows& rows, nb::ndarray<const float, nb::device::cpu, nb::ndim<3>> gradient,
              Array<const std::int32_t, nb::ndim<2>> count, Array<const float, nb::ndim<2>> depth,
              Array<float, nb::ndim<2>> descriptors, int height, int width, int layers, double alpha, double gamma,
              double ghosts, std::int64_t seed, int threads) {
  const auto views = read_views(rows);
  const Settings settings = make_settings(height, width, layers, alpha, gamma, ghosts, seed);
  const std::size_t pixels = settings.pixels(), channels = descriptors.shape(1);
  expect(gradient.shape(0) == views.size() && gradient.shape(1) == pixels && gradient.shape(2) == channels,
         "gradient must be [V, P, D]");
  expect(count.shape(0) == views.size() && count.shape(1) == pixels, "count must be [V, P]");
  expect(depth.shape(0) == views.size() && depth.shape(1) == pixels, "depth must be [V, P]");
  expect(descriptors.shape(0) == self.scene_points(), "descriptors must be [N, D]");
  const Backward tensors{gradient.data(),
                         {gradient.stride(0), gradient.stride(1), gradient.stride(2)},
                         count.data(),
                         depth.data(),
                         descriptors.data()};
  nb::gil_scoped_release free;
  self.backward(views.data(), views.size(), settings, static_cast<int>(channels), tensors, threads);
}

void spatial(Rasterizer& self, const ViewRows& rows, const Images& image, const Images& gradient,
             Array<const std::int32_t, nb::ndim<2>> count, Array<const float, nb::ndim<2>> depth,
             const Rows& descriptors, std::optional<Array<float, nb::ndim<2>>> position,
             std::optional<Array<double, nb::ndim<2>>> by_row, int carriers, int moves, double slope, int height,
             int width, int layers, double alpha, double gamma, double ghosts, std::int64_t seed, int threads) {
  const auto views = read_views(rows);
  const Settings settings = make_settings(height, width, layers, alpha, gamma, ghosts, seed);
  const std::size_t pixels = settings.pixels(), channels = descriptors.shape(1);
  for (const Images* tensor : {&image, &gradient})
    expect(tensor->shape(0) == views.size() && tensor->shape(1) == pixels && tensor->shape(2) == channels,
           "image and gradient must be [V, P, D]");
  expect(count.shape(0) == views.size() && count.shape(1) == pixels, "count must be [V, P]");
  expect(depth.shape(0) == views.size() && depth.shape(1) == pixels, "depth must be [V, P]");
  expect(descriptors.shape(0) == self.scene_points(), "descriptors must be [N, D]");
  expect(!position || (position->shape(0) == self.scene_points() && position->shape(1) == 3), "position must be [N, 3]");
  expect(!by_row || (by_row->shape(0) == views.size() && by_row->shape(1) == kViewFloats), "rows must be [V, R]");
  expect(carriers >= 0 && carriers <= 2 && moves >= 0 && moves <= 2, "no such carriers or moves");
  const Spatial tensors{image.data(),
                        gradient.data(),
                        count.data(),
                        depth.data(),
                        descriptors.data(),
                        static_cast<Carriers>(carriers),
                        static_cast<Moves>(moves),
                        static_cast<float>(slope),
                        position ? position->data() : nullptr,
                        by_row ? by_row->data() : nullptr};
  nb::gil_scoped_release free;
  spatial_gradient(self.blocks(), views.data(), views.size(), settings, static_cast<int>(channels), tensors, threads);
}

std::size_t draw_nothing(Rasterizer& self, const ViewRows& rows, int height, int width, int layers, double alpha,
                         double gamma, double ghosts, std::int64_t seed, int threads) {
  const auto views = read_views(rows);
  const Settings settings = make_settings(height, width, layers, alpha, gamma, ghosts, seed);
  nb::gil_scoped_release free;
  return self.draw_nothing(views.data(), views.size(), settings, threads);
}

}  // namespace

void bind_points(nb::module_& m) {
  nb::class_<Rasterizer>(m, "Rasterizer", "A point cloud, sorted for the one-pixel rasteriser.")
      .def(nb::new_(&make_rasterizer), nb::arg("position"), nb::arg("normal"), nb::arg("radius"), nb::arg("threshold"),
           nb::arg("threads"))
      .def("forward", &forward, nb::arg("views"), nb::arg("descriptors"), nb::arg("features"), nb::arg("count"),
           nb::arg("depth"), nb::arg("height"), nb::arg("width"), nb::arg("layers"), nb::arg("alpha"),
           nb::arg("gamma"), nb::arg("ghosts"), nb::arg("seed"), nb::arg("threads"))
      .def("backward", &backward, nb::arg("views"), nb::arg("gradient"), nb::arg("count"), nb::arg("depth"),
           nb::arg("descriptors"), nb::arg("height"), nb::arg("width"), nb::arg("layers"), nb::arg("alpha"),
           nb::arg("gamma"), nb::arg("ghosts"), nb::arg("seed"), nb::arg("threads"))
      .def("spatial_gradient", &spatial, nb::arg("views"), nb::arg("image"), nb::arg("gradient"), nb::arg("count"),
           nb::arg("depth"), nb::arg("descriptors"), nb::arg("position").none(), nb::arg("rows").none(),
           nb::arg("carriers"), nb::arg("moves"), nb::arg("slope"), nb::arg("height"), nb::arg("width"),
           nb::arg("layers"), nb::arg("alpha"), nb::arg("gamma"), nb::arg("ghosts"), nb::arg("seed"),
           nb::arg("threads"))
      .def("draw_nothing", &draw_nothing, nb::arg("views"), nb::arg("height"), nb::arg("width"), nb::arg("layers"),
           nb::arg("alpha"), nb::arg("gamma"), nb::arg("ghosts"), nb::arg("seed"), nb::arg("threads"))
      .def_prop_ro("points", [](const Rasterizer& self) { return self.blocks().points(); })
      .def_prop_ro("blocks", [](const Rasterizer& self) { return self.blocks().blocks(); })
      .def_prop_ro("bytes", [](const Rasterizer& self) { return self.blocks().bytes(); });
}

}  // namespace unrender
