#include "blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "../threads.h"

namespace unrender {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Bits of a Morton code per axis: an outlier a thousand extents away leaves more than enough for the rest.
constexpr int kAxisBits = 21;

std::uint64_t every_third_bit(std::uint64_t x) {
  x = (x | x << 32) & 0x001f00000000ffffULL;
  x = (x | x << 16) & 0x001f0000ff0000ffULL;
  x = (x | x << 8) & 0x100f00f00f00f00fULL;
  x = (x | x << 4) & 0x10c30c30c30c30c3ULL;
  return (x | x << 2) & 0x1249249249249249ULL;
}

bool is_finite(const float* p) { return std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2]); }

struct Keyed {
  std::uint64_t code;
  std::uint32_t index;
};

// Stable, by code: least digits first.
void radix_sort(std::vector<Keyed>& items) {
  constexpr int kDigit = 11;
  std::vector<Keyed> other(items.size());
  for (int shift = 0; shift < 3 * kAxisBits; shift += kDigit) {
    std::array<std::size_t, (1 << kDigit) + 1> place{};
    for (const auto& item : items) ++place[((item.code >> shift) & ((1 << kDigit) - 1)) + 1];
    if (std::find(place.begin(), place.end(), items.size()) != place.end()) continue;  // all share this digit
    std::partial_sum(place.begin(), place.end(), place.begin());
    for (const auto& item : items) other[place[(item.code >> shift) & ((1 << kDigit) - 1)]++] = item;
    items.swap(other);
  }
}

}  // namespace

PointBlocks::PointBlocks(const float* position, const float* normal, const float* radius, const float* threshold,
                         std::size_t points, int threads) {
  sort_along_curve(position, points);
  for (auto* values : {&px, &py, &pz, &nx, &ny, &nz, &reach}) values->resize(index.size());
  blocks_.resize((index.size() + kBlock - 1) / kBlock);
  constexpr std::size_t kRun = 64;  // blocks per task
  Pool::shared().run((blocks_.size() + kRun - 1) / kRun, threads, [&](std::size_t run, int) {
    for (std::size_t block = run * kRun; block < std::min((run + 1) * kRun, blocks_.size()); ++block) {
      gather(position, normal, radius, threshold, block);
      measure(block);
    }
  });
}

std::uint32_t PointBlocks::size(std::size_t block) const {
  return static_cast<std::uint32_t>(std::min<std::size_t>(kBlock, index.size() - block * kBlock));
}

std::size_t PointBlocks::bytes() const {
  return index.size() * (7 * sizeof(float) + sizeof(std::uint32_t)) + blocks_.size() * sizeof(Block);
}

void PointBlocks::sort_along_curve(const float* position, std::size_t points) {
  std::array<double, 3> low{kInfinity, kInfinity, kInfinity}, high{-kInfinity, -kInfinity, -kInfinity};
  std::vector<Keyed> keyed;
  keyed.reserve(points);
  for (std::size_t point = 0; point < points; ++point) {
    const float* p = position + 3 * point;
    if (!is_finite(p)) continue;
    keyed.push_back({0, static_cast<std::uint32_t>(point)});
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = std::min<double>(low[axis], p[axis]);
      high[axis] = std::max<double>(high[axis], p[axis]);
    }
  }
  const double extent = std::max({high[0] - low[0], high[1] - low[1], high[2] - low[2], 1e-300});
  const double scale = ((1 << kAxisBits) - 1) / extent;  // one for all axes: cells are cubes
  for (auto& item : keyed) {
    const float* p = position + 3 * std::size_t(item.index);
    for (int axis = 0; axis < 3; ++axis)
      item.code |= every_third_bit(static_cast<std::uint64_t>((p[axis] - low[axis]) * scale)) << axis;
  }
  radix_sort(keyed);
  index.resize(keyed.size());
  std::transform(keyed.begin(), keyed.end(), index.begin(), [](const Keyed& item) { return item.index; });
}

void PointBlocks::gather(const float* position, const float* normal, const float* radius, const float* threshold,
                         std::size_t block) {
  const std::uint32_t first = begin(block), count = size(block);
  struct Ranked {
    float reach, order;
    std::uint32_t index;
  };
  std::array<Ranked, kBlock> ranked;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t point = index[first + i];
    const float far = radius[point] / std::sqrt(1.0f - threshold[point]);
    // What is no number is never drawn where points are discarded, so that it may stand last.
    ranked[i] = {far, std::isnan(far) ? -std::numeric_limits<float>::infinity() : far, point};
  }
  std::stable_sort(ranked.begin(), ranked.begin() + count,
                   [](const Ranked& a, const Ranked& b) { return a.order > b.order; });
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t to = first + i;
    const std::size_t from = 3 * std::size_t(ranked[i].index);
    index[to] = ranked[i].index;
    reach[to] = ranked[i].reach;
    px[to] = position[from], py[to] = position[from + 1], pz[to] = position[from + 2];
    nx[to] = normal[from], ny[to] = normal[from + 1], nz[to] = normal[from + 2];
  }
}

void PointBlocks::measure(std::size_t block) {
  Block& made = blocks_[block];
  const std::uint32_t first = begin(block), last = first + size(block);
  const std::array<const float*, 3> axes{px.data(), py.data(), pz.data()};
  double diagonal = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const auto [low, high] = std::minmax_element(axes[axis] + first, axes[axis] + last);
    made.center[axis] = static_cast<float>(0.5 * (double(*low) + *high));
    // From the rounded centre, and rounded up.
    const double half = std::max(double(*high) - made.center[axis], made.center[axis] - double(*low));
    made.half[axis] = std::nextafter(static_cast<float>(half), std::numeric_limits<float>::infinity());
    diagonal += double(made.half[axis]) * made.half[axis];
  }
  made.radius = static_cast<float>(std::sqrt(diagonal) * (1 + 1e-6));
  for (std::uint32_t i = 0, at = first; i < kBlock / kStep; ++i, at += kStep) made.reach[i] = at < last ? reach[at] : 0;
  measure_normals(block, made);
}

void PointBlocks::measure_normals(std::size_t block, Block& made) const {
  const std::uint32_t first = begin(block), last = first + size(block);
  std::array<double, 3> sum{};
  std::uint32_t zero = 0;
  bool usable = true;
  for (std::uint32_t i = first; i < last; ++i) {
    const double length = std::hypot(double(nx[i]), double(ny[i]), double(nz[i]));
    zero += length == 0;
    usable &= length > 1e-12 && length < 1e12;  // so that no product under- or overflows; false for NaN
    if (length > 0) sum = {sum[0] + nx[i] / length, sum[1] + ny[i] / length, sum[2] + nz[i] / length};
  }
  const double length = std::hypot(sum[0], sum[1], sum[2]);
  made.normals = zero == last - first ? Normals::zero : Normals::mixed;
  if (!usable || !(length > 0)) return;
  for (int axis = 0; axis < 3; ++axis) made.axis[axis] = static_cast<float>(sum[axis] / length);
  double least = 1;
  for (std::uint32_t i = first; i < last; ++i) {
    const double norm = std::hypot(double(nx[i]), double(ny[i]), double(nz[i]));
    const double along = nx[i] * double(made.axis[0]) + ny[i] * double(made.axis[1]) + nz[i] * double(made.axis[2]);
    least = std::min(least, along / norm);
  }
  least -= 1e-6;  // the axis is rounded
  if (least <= 0) return;
  made.normals = Normals::cone;
  made.spread[0] = static_cast<float>(least);
  made.spread[1] = static_cast<float>(std::sqrt(1 - least * least));
}

}  // namespace unrender
