// Which points a tile draws: blocks are projected whole, in loops that vectorise, and what is drawn is packed.
#include <algorithm>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "tiles.h"

namespace unrender {

namespace {

// What a tile knows of the points of a lot.
struct Projected {
  alignas(64) float depth[kStep];
  alignas(64) std::uint32_t pixel[kStep];  // of the tile
  alignas(64) std::int32_t layers[kStep];
};

// In how many layers `is_drawn` holds, from the finest on: the exponent of the next power of two.
std::int32_t layers_drawn(float size) {
  std::uint32_t bits;
  std::memcpy(&bits, &size, sizeof(bits));
  return size > 1.0f ? std::int32_t((bits + 0x7fffffU) >> 23) - 127 : 0;  // 0 for what is no number
}

// What a tile asks of points.
struct Question {
  View view;
  int layers;
  float gamma;
  std::int32_t left, top;
  float low_u, high_u, low_v, high_v;  // the tile, inside the image
  std::uint32_t ghost_key, ghosts;

  Question(const Plan& plan, std::size_t tile, const Settings& settings)
      : view(plan.window.view),
        layers(settings.layers),
        gamma(settings.gamma),
        left(plan.column(tile) * plan.window.tile),
        top(plan.row(tile) * plan.window.tile),
        low_u(static_cast<float>(left)),
        high_u(static_cast<float>(std::min(left + plan.window.tile, settings.width))),
        low_v(static_cast<float>(top)),
        high_v(static_cast<float>(std::min(top + plan.window.tile, settings.height))),
        ghost_key(plan.ghost_key),
        ghosts(settings.ghosts) {}
};

// Loops over a lot, without branches, so that they vectorise.
template <Family F, bool discarding>
void project(const Lot& lot, const Question& ask, Projected& to) {
  for (unsigned i = 0; i < kStep; ++i) {
    const Seen seen = see<F>(ask.view, lot.x[i], lot.y[i], lot.z[i]);
    const bool in_tile = bool(int(is_inside<F>(ask.view, seen)) & int(seen.u >= ask.low_u) & int(seen.u < ask.high_u) &
                              int(seen.v >= ask.low_v) & int(seen.v < ask.high_v));
    const auto u = static_cast<std::uint32_t>(static_cast<std::int32_t>(in_tile ? seen.u : ask.low_u) - ask.left);
    const auto v = static_cast<std::uint32_t>(static_cast<std::int32_t>(in_tile ? seen.v : ask.low_v) - ask.top);
    to.pixel[i] = every_second_bit(u) | every_second_bit(v) << 1;
    to.depth[i] = seen.depth;
    std::int32_t layers = in_tile ? ask.layers : 0;
    if constexpr (discarding) {
      const float reach = magnification<F>(ask.view.lens, seen) * lot.reach[i];
      layers = std::min(layers, layers_drawn(ask.gamma * reach));
    }
    to.layers[i] = layers;
  }
}

// Points that face away are not drawn.
void leave_out_backs(const Lot& lot, const Question& ask, Projected& to) {
  for (unsigned i = 0; i < kStep; ++i) {
    const bool faces = is_facing(ask.view, lot.x[i], lot.y[i], lot.z[i], lot.nx[i], lot.ny[i], lot.nz[i]);
    to.layers[i] = faces ? to.layers[i] : 0;
  }
}

void leave_out_ghosts(const Lot& lot, const Question& ask, Projected& to) {
  for (unsigned i = 0; i < kStep; ++i)
    to.layers[i] = is_ghost(ask.ghost_key, lot.index[i], ask.ghosts) ? 0 : to.layers[i];
}

// Appends those points that are drawn to the list of the tile, whose end is `points`; the new end.
std::size_t pack(const Projected& seen, const Lot& lot, Scratch& to, std::size_t points) {
#if defined(__AVX512F__)
  static_assert(kStep == 16);
  const __m512i layers = _mm512_load_si512(seen.layers);
  const __mmask16 drawn = _mm512_cmpgt_epi32_mask(layers, _mm512_setzero_si512());
  const __m512i where = _mm512_or_si512(_mm512_slli_epi32(_mm512_load_si512(seen.pixel), 4), layers);
  _mm512_storeu_si512(to.where.data() + points, _mm512_maskz_compress_epi32(drawn, where));
  _mm512_storeu_si512(to.index.data() + points, _mm512_maskz_compress_epi32(drawn, _mm512_load_si512(lot.index)));
  _mm512_storeu_ps(to.depth.data() + points, _mm512_maskz_compress_ps(drawn, _mm512_load_ps(seen.depth)));
  return points + static_cast<unsigned>(_mm_popcnt_u32(drawn));
#else
  for (unsigned i = 0; i < kStep; ++i) {  // without branches: what is not drawn is overwritten
    to.where[points] = seen.pixel[i] << 4 | static_cast<std::uint32_t>(seen.layers[i]);
    to.depth[points] = seen.depth[i];
    to.index[points] = lot.index[i];
    points += seen.layers[i] > 0;
  }
  return points;
#endif
}

template <Family F, bool discarding>
void collect_points(const PointBlocks& blocks, const Plan& plan, std::size_t tile, const Settings& settings,
                    Scratch& scratch) {
  const Question ask(plan, tile, settings);
  Projected seen;
  std::size_t points = 0;
  for (std::size_t at = plan.begin[tile]; at < plan.begin[tile + 1]; ++at) {
    const Plan::Entry& entry = plan.entries[at];
    if (scratch.where.size() < points + 2 * kBlock) {
      const std::size_t room = 2 * points + 2 * kBlock;
      scratch.where.resize(room), scratch.index.resize(room), scratch.depth.resize(room);
    }
    const Lot* lot = blocks.lots(entry.block);
    for (const Lot* end = lot + (entry.count + kStep - 1) / kStep; lot < end; ++lot) {
      project<F, discarding>(*lot, ask, seen);
      if (entry.look_at_normals) leave_out_backs(*lot, ask, seen);
      if (settings.ghosts > 0) leave_out_ghosts(*lot, ask, seen);
      points = pack(seen, *lot, scratch, points);
    }
  }
  scratch.points = points;
}

}  // namespace

void collect(const PointBlocks& blocks, const Plan& plan, std::size_t tile, const Settings& settings,
             Scratch& scratch) {
  with_family(plan.window.view.lens, [&](auto its) {
    if (settings.gamma > 0)
      collect_points<decltype(its)::family, true>(blocks, plan, tile, settings, scratch);
    else
      collect_points<decltype(its)::family, false>(blocks, plan, tile, settings, scratch);
  });
}

}  // namespace unrender
