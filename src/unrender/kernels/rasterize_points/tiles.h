// The image cut into square tiles, each with its pixels of all layers.
//
// Layer l of a tile of 2^k pixels is 2^(k-l) pixels wide, and k >= L - 1. So tiles know nothing of each other, and one
// thread works in one tile without atomics, in caches of its own. Inside a tile pixels are numbered along a Morton
// curve: pixel c of a layer lies in pixel c >> 2 of the next.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "rasterizer.h"

namespace unrender {

constexpr int kMostLayers = 12;

// Where a tile's pixels lie, in the tile and in the pyramid.
struct Layout {
  int edge;                                        // of the tile in the finest layer
  int layers;
  std::array<std::size_t, kMostLayers + 1> local;  // first pixel of each layer in the tile
  struct Level {
    std::size_t first;  // pixel of the pyramid
    int height, width;
  };
  std::array<Level, kMostLayers> levels;
  std::size_t pixels = 0;  // P

  Layout(const Settings& settings, int tile) : edge(tile), layers(settings.layers) {
    local[0] = 0;
    for (int level = 0; level < layers; ++level) {
      const int cell = 1 << level, side = edge >> level;
      levels[level] = {pixels, (settings.height + cell - 1) / cell, (settings.width + cell - 1) / cell};
      pixels += std::size_t(levels[level].height) * levels[level].width;
      local[level + 1] = local[level] + std::size_t(side) * side;
    }
  }

  std::size_t tile_pixels() const { return local[layers]; }
};

inline int tile_edge(const Settings& settings, int channels) {
  const int fits = channels <= 4 ? 128 : 64;  // sums of all layers stay in the second cache
  return std::max(fits, 1 << (settings.layers - 1));
}

inline std::uint32_t every_second_bit(std::uint32_t x) {
  x = (x | x << 8) & 0x00ff00ffU;
  x = (x | x << 4) & 0x0f0f0f0fU;
  x = (x | x << 2) & 0x33333333U;
  return (x | x << 1) & 0x55555555U;
}

// Calls each(pixel in the tile, pixel in the pyramid) for a tile's pixels inside the image.
template <class Each>
void for_pixels(const Layout& layout, int column, int row, const Each& each) {
  static const auto spread = [] {
    std::array<std::uint32_t, 1 << (kMostLayers - 1)> bits;
    for (std::uint32_t i = 0; i < bits.size(); ++i) bits[i] = every_second_bit(i);
    return bits;
  }();
  for (int level = 0; level < layout.layers; ++level) {
    const int side = layout.edge >> level, left = column * side, top = row * side;
    const auto& size = layout.levels[level];
    const int right = std::min(left + side, size.width), bottom = std::min(top + side, size.height);
    for (int y = top; y < bottom; ++y) {
      const std::size_t in_row = layout.local[level] + (spread[y - top] << 1);
      const std::size_t begin = size.first + std::size_t(y) * size.width;
      for (int x = left; x < right; ++x) each(in_row + spread[x - left], begin + x);
    }
  }
}

// The points of a tile that are drawn in any layer, in the order of the blocks, into `scratch`.
void collect(const PointBlocks& blocks, const Plan& plan, std::size_t tile, const Settings& settings,
             Scratch& scratch);

}  // namespace unrender
