// What the ranks of a job, which may be processes, do together outside of programs.

#include "bindings.h"

namespace spike {
namespace {

struct Rank {
  uint32_t id, world_size;

  Rank(Int rank_id, Int size)
      : id(integer<uint32_t>("rank_id", rank_id)),
        world_size(integer<uint32_t>("world_size", size)) {
    if (id >= world_size)
      throw nb::value_error("rank_id has to be less than world_size");
  }
  void check(int status, const char* text, const NrtApi& api) const {
    spike::check(status, text, [&] {
      return describe_reason(api) + "rank " + std::to_string(id) + " of " +
             std::to_string(world_size);
    });
  }
};

void barrier(const Spike& self, Int rank_id, Int world_size) {
  const Rank rank(rank_id, world_size);
  Use nrt(self.runtime(), "Unable to wait for other ranks");
  rank.check(nrt->nrt_barrier(-1, rank.id, rank.world_size),
             "Failed to wait for other ranks", *nrt);
}

nb::bytes all_gather(const Spike& self, nb::bytes data, Int rank_id, Int world_size) {
  const Rank rank(rank_id, world_size);
  const size_t size = data.size();
  if (size > std::numeric_limits<uint32_t>::max())
    throw SpikeError("Unable to gather " + std::to_string(size) +
                     " bytes of each rank: libnrt takes 32 bits for their number");
  auto gathered = bytes_of_size(size * rank.world_size);
  Use nrt(self.runtime(), "Unable to gather what other ranks have");
  rank.check(nrt->nrt_all_gather(
                 -1, rank.id, rank.world_size, static_cast<uint32_t>(size),
                 PyBytes_AS_STRING(data.ptr()), PyBytes_AS_STRING(gathered.ptr())),
             "Failed to gather what other ranks have", *nrt);
  return gathered;
}

}  // namespace

void define_ranks(nb::class_<Spike>& spike) {
  spike
      .def("barrier", barrier, "rank_id"_a, "world_size"_a,
           "Return when all ranks have come, which may be other processes.")
      .def("all_gather", all_gather, "data"_a, "rank_id"_a, "world_size"_a,
           "The bytes of all ranks, one after the other; all give as many.");
}

}  // namespace spike
