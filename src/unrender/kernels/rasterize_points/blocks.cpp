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
  const std::vector<std::uint32_t> index = sort_along_curve(position, points);
  points_ = index.size();
  blocks_.resize((points_ + kBlock - 1) / kBlock);
  lots_.resize(blocks_.size() * (kBlock / kStep));
  constexpr std::size_t kRun = 64;  // blocks per task
  Pool::shared().run((blocks_.size() + kRun - 1) / kRun, threads, [&](std::size_t run, int) {
    for (std::size_t block = run * kRun; block < std::min((run + 1) * kRun, blocks_.size()); ++block) {
      gather(position, normal, radius, threshold, index.data() + block * kBlock, block);
      measure(block);
    }
  });
}

std::uint32_t PointBlocks::size(std::size_t block) const {
  return static_cast<std::uint32_t>(std::min<std::size_t>(kBlock, points_ - block * kBlock));
}

std::size_t PointBlocks::bytes() const {
  return lots_.size() * sizeof(Lot) + blocks_.size() * sizeof(Block);
}

std::vector<std::uint32_t> PointBlocks::sort_along_curve(const float* position, std::size_t points) {
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
  std::vector<std::uint32_t> index(keyed.size());
  std::transform(keyed.begin(), keyed.end(), index.begin(), [](const Keyed& item) { return item.index; });
  return index;
}

void PointBlocks::gather(const float* position, const float* normal, const float* radius, const float* threshold,
                         const std::uint32_t* index, std::size_t block) {
  const std::uint32_t count = size(block);
  struct Ranked {
    float reach, order;
    std::uint32_t index;
  };
  std::array<Ranked, kBlock> ranked;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t point = index[i];
    const float far = radius[point] / std::sqrt(1.0f - threshold[point]);
    // What is no number is never drawn where points are discarded, so that it may stand last.
    ranked[i] = {far, std::isnan(far) ? -std::numeric_limits<float>::infinity() : far, point};
  }
  std::stable_sort(ranked.begin(), ranked.begin() + count,
                   [](const Ranked& a, const Ranked& b) { return a.order > b.order; });
  Lot* lot = lots_.data() + block * (kBlock / kStep);
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    Lot& to = lot[i / kStep];
    const std::uint32_t at = i % kStep;
    if (i >= count) {
      to.x[at] = to.y[at] = to.z[at] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    const std::size_t from = 3 * std::size_t(ranked[i].index);
    to.index[at] = ranked[i].index;
    to.reach[at] = ranked[i].reach;
    to.x[at] = position[from], to.y[at] = position[from + 1], to.z[at] = position[from + 2];
    to.nx[at] = normal[from], to.ny[at] = normal[from + 1], to.nz[at] = normal[from + 2];
  }
}

void PointBlocks::measure(std::size_t block) {
  Block& made = blocks_[block];
  const Lot* lot = lots(block);
  const std::uint32_t count = size(block);
  double diagonal = 0;
  for (int axis = 0; axis < 3; ++axis) {
    float low = std::numeric_limits<float>::infinity(), high = -low;
    for (std::uint32_t i = 0; i < count; ++i) {
      const Lot& from = lot[i / kStep];
      const float* places[3] = {from.x, from.y, from.z};
      const float place = places[axis][i % kStep];
      low = std::min(low, place), high = std::max(high, place);
    }
    made.center[axis] = static_cast<float>(0.5 * (double(low) + high));
    // From the rounded centre, and rounded up.
    const double half = std::max(double(high) - made.center[axis], made.center[axis] - double(low));
    made.half[axis] = std::nextafter(static_cast<float>(half), std::numeric_limits<float>::infinity());
    diagonal += double(made.half[axis]) * made.half[axis];
  }
  made.radius = static_cast<float>(std::sqrt(diagonal) * (1 + 1e-6));
  for (std::uint32_t i = 0; i < kBlock / kStep; ++i) made.reach[i] = i * kStep < count ? lot[i].reach[0] : 0;
  measure_normals(block, made);
}

void PointBlocks::measure_normals(std::size_t block, Block& made) const {
  const Lot* lot = lots(block);
  const std::uint32_t count = size(block);
  const auto normal = [lot](std::uint32_t i) {
    const Lot& from = lot[i / kStep];
    return std::array<double, 3>{from.nx[i % kStep], from.ny[i % kStep], from.nz[i % kStep]};
  };
  std::array<double, 3> sum{};
  std::uint32_t zero = 0;
  bool usable = true;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto [x, y, z] = normal(i);
    const double length = std::hypot(x, y, z);
    zero += length == 0;
    usable &= length > 1e-12 && length < 1e12;  // so that no product under- or overflows; false for NaN
    if (length > 0) sum = {sum[0] + x / length, sum[1] + y / length, sum[2] + z / length};
  }
  const double length = std::hypot(sum[0], sum[1], sum[2]);
  made.normals = zero == count ? Normals::zero : Normals::mixed;
  if (!usable || !(length > 0)) return;
  for (int axis = 0; axis < 3; ++axis) made.axis[axis] = static_cast<float>(sum[axis] / length);
  double least = 1;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto [x, y, z] = normal(i);
    const double along = x * double(made.axis[0]) + y * double(made.axis[1]) + z * double(made.axis[2]);
    least = std::min(least, along / std::hypot(x, y, z));
  }
  least -= 1e-6;  // the axis is rounded
  if (least <= 0) return;
  made.normals = Normals::cone;
  made.spread[0] = static_cast<float>(least);
  made.spread[1] = static_cast<float>(std::sqrt(1 - least * least));
}

}  // namespace unrender
