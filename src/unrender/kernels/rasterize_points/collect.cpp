// Which points a tile draws: blocks are projected whole, in loops that vectorise, and what is drawn is packed.
#include <algorithm>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "tiles.h"

namespace unrender {

namespace {

// What a tile knows of the points of one block.
struct Projected {
  alignas(64) float depth[kBlock];
  alignas(64) std::uint32_t pixel[kBlock];  // of the tile
  alignas(64) std::int32_t layers[kBlock];
};

// In how many layers `is_drawn` holds, from the finest on: the exponent of the next power of two.
std::int32_t layers_drawn(float size) {
  std::uint32_t bits;
  std::memcpy(&bits, &size, sizeof(bits));
  return size > 1.0f ? std::int32_t((bits + 0x7fffffU) >> 23) - 127 : 0;  // 0 for what is no number
}

// One loop over the points of a block, without branches, so that it vectorises.
template <bool discarding>
void project(const PointBlocks& blocks, const Plan& plan, const Plan::Entry& entry, std::size_t tile,
             const Settings& settings, Projected& to) {
  const View view = plan.window.view;
  const std::uint32_t first = blocks.begin(entry.block);
  const int count = entry.count, layers = settings.layers;
  const float *px = blocks.px.data() + first, *py = blocks.py.data() + first, *pz = blocks.pz.data() + first;
  const float *reach = blocks.reach.data() + first, gamma = settings.gamma;
  const std::int32_t edge = plan.window.tile, left = plan.column(tile) * edge, top = plan.row(tile) * edge;
  const auto low_u = static_cast<float>(left), low_v = static_cast<float>(top);
  const auto high_u = static_cast<float>(std::min(left + edge, settings.width));
  const auto high_v = static_cast<float>(std::min(top + edge, settings.height));
  for (int i = 0; i < count; ++i) {
    const Seen seen = see(view, px[i], py[i], pz[i]);
    const bool in_tile = bool(int(is_inside(view, seen)) & int(seen.u >= low_u) & int(seen.u < high_u) &
                              int(seen.v >= low_v) & int(seen.v < high_v));
    const auto u = static_cast<std::uint32_t>(static_cast<std::int32_t>(in_tile ? seen.u : low_u) - left);
    const auto v = static_cast<std::uint32_t>(static_cast<std::int32_t>(in_tile ? seen.v : low_v) - top);
    to.pixel[i] = every_second_bit(u) | every_second_bit(v) << 1;
    to.depth[i] = seen.depth;
    std::int32_t drawn = layers;
    if constexpr (discarding)
      drawn = layers_drawn(gamma * (magnification(view.lens, seen.x, seen.y, seen.inverse_depth) * reach[i]));
    to.layers[i] = in_tile ? std::min(drawn, layers) : 0;
  }
}

// Points that face away and ghosts are not drawn.
void leave_out(const PointBlocks& blocks, const Plan& plan, const Plan::Entry& entry, const Settings& settings,
               Projected& to) {
  const View view = plan.window.view;
  const std::uint32_t first = blocks.begin(entry.block);
  if (entry.look_at_normals) {
    const float *px = blocks.px.data() + first, *py = blocks.py.data() + first, *pz = blocks.pz.data() + first;
    const float *nx = blocks.nx.data() + first, *ny = blocks.ny.data() + first, *nz = blocks.nz.data() + first;
    for (int i = 0; i < entry.count; ++i)
      to.layers[i] = is_facing(view, px[i], py[i], pz[i], nx[i], ny[i], nz[i]) ? to.layers[i] : 0;
  }
  if (settings.ghosts > 0) {
    const std::uint32_t* index = blocks.index.data() + first;
    for (int i = 0; i < entry.count; ++i)
      to.layers[i] = is_ghost(plan.ghost_key, index[i], settings.ghosts) ? 0 : to.layers[i];
  }
}

// Appends those points of a block that are drawn to the list of the tile, whose end is `points`; the new end.
std::size_t pack(const Projected& seen, const std::uint32_t* index, int count, Scratch& to, std::size_t points) {
  int i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= count; i += 16) {
    const __m512i layers = _mm512_load_si512(seen.layers + i);
    const __mmask16 drawn = _mm512_cmpgt_epi32_mask(layers, _mm512_setzero_si512());
    const __m512i where = _mm512_or_si512(_mm512_slli_epi32(_mm512_load_si512(seen.pixel + i), 4), layers);
    _mm512_storeu_si512(to.where.data() + points, _mm512_maskz_compress_epi32(drawn, where));
    _mm512_storeu_si512(to.index.data() + points, _mm512_maskz_compress_epi32(drawn, _mm512_loadu_si512(index + i)));
    _mm512_storeu_ps(to.depth.data() + points, _mm512_maskz_compress_ps(drawn, _mm512_load_ps(seen.depth + i)));
    points += static_cast<unsigned>(_mm_popcnt_u32(drawn));
  }
#endif
  for (; i < count; ++i) {  // without branches: what is not drawn is overwritten
    to.where[points] = seen.pixel[i] << 4 | static_cast<std::uint32_t>(seen.layers[i]);
    to.depth[points] = seen.depth[i];
    to.index[points] = index[i];
    points += seen.layers[i] > 0;
  }
  return points;
}

}  // namespace

void collect(const PointBlocks& blocks, const Plan& plan, std::size_t tile, const Settings& settings,
             Scratch& scratch) {
  Projected seen;
  std::size_t points = 0;
  for (std::size_t at = plan.begin[tile]; at < plan.begin[tile + 1]; ++at) {
    const Plan::Entry& entry = plan.entries[at];
    if (settings.gamma > 0)
      project<true>(blocks, plan, entry, tile, settings, seen);
    else
      project<false>(blocks, plan, entry, tile, settings, seen);
    leave_out(blocks, plan, entry, settings, seen);
    if (scratch.where.size() < points + 2 * kBlock) {
      const std::size_t room = 2 * points + 2 * kBlock;
      for (auto* list : {&scratch.where, &scratch.index, &scratch.later}) list->resize(room);
      scratch.depth.resize(room);
    }
    points = pack(seen, blocks.index.data() + blocks.begin(entry.block), entry.count, scratch, points);
  }
  scratch.points = points;
}

}  // namespace unrender
