// The module unrender.kernels._native: arrays in, arrays out, by DLPack. It knows nothing of PyTorch's library.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffers.h"
#include "rasterize_points/bindings.h"
#include "sample_environment/bindings.h"
#include "threads.h"

namespace nb = nanobind;
using namespace unrender;

namespace {

template <class Scalar>
nb::ndarray<nb::pytorch, Scalar> buffer(const std::vector<std::size_t>& shape) {
  std::size_t number = 1;
  for (const std::size_t extent : shape) number *= extent;
  void* memory = Buffers::shared().take(number * sizeof(Scalar));
  nb::capsule owner(memory, [](void* taken) noexcept { Buffers::shared().give(taken); });
  return nb::ndarray<nb::pytorch, Scalar>(memory, shape.size(), shape.data(), owner);
}

// Zeros by all threads: one alone does not fill memory as fast as it goes.
void clear(nb::ndarray<float, nb::device::cpu, nb::c_contig> values, int threads) {
  constexpr std::size_t kRun = std::size_t(1) << 20;
  const std::size_t size = values.size();
  float* data = values.data();
  nb::gil_scoped_release free;
  Pool::shared().run((size + kRun - 1) / kRun, threads, [&](std::size_t run, int) {
    std::fill(data + run * kRun, data + std::min((run + 1) * kRun, size), 0.0f);
  });
}

}  // namespace

NB_MODULE(_native, m) {
  nb::set_leak_warnings(false);  // sorted clouds are kept until the process ends
  m.doc() = "The compiled kernels of unrender. Not for direct use: see unrender.kernels.";
  bind_points(m);
  m.def("floats", &buffer<float>, nb::arg("shape"), "A float32 tensor with any contents, from memory used before.");
  m.def("ints", &buffer<std::int32_t>, nb::arg("shape"), "The same of int32.");
  m.def("clear", &clear, nb::arg("values"), nb::arg("threads"), "Fill a float32 tensor with zeros.");
  bind_environment(m);
  m.def("buffer_bytes", [] { return nb::make_tuple(Buffers::shared().waiting(), Buffers::shared().total()); },
        "Bytes of kept memory that wait to be used, and all of it.");
}
