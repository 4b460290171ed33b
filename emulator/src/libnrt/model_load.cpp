#include "model_load.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>

#include "env.h"
#include "log.h"
#include "model.h"
#include "session.h"
#include "status.h"
#include "trace_sink.h"

namespace emulator {
namespace {

constexpr std::uint32_t kMaxRanks = 64;  // tried with; XLA runs all in one process

int choose_core(Session& session, const LoadRequest& request) {
  require(request.core_count == -1 || request.core_count >= 1,
          "vnc_count must be -1 or at least 1");
  if (request.core != -1) return session.core(request.core).index;
  std::vector<int> models(static_cast<std::size_t>(session.core_count()), 0);
  if (models.empty()) {
    throw StatusError(NRT_LOAD_NOT_ENOUGH_NC, "the process has no core");
  }
  for (const auto& model : session.models.all()) {
    ++models[static_cast<std::size_t>(model->core())];
  }
  return static_cast<int>(std::min_element(models.begin(), models.end()) -
                          models.begin());
}

void check_ranks(const LoadRequest& request) {
  require(request.ranks >= 1, "the number of ranks must be at least 1");
  require(request.rank < request.ranks, "the rank must be below the number of ranks");
}

// Whether those that talk could all be ranks of this process.
bool peers_reachable(const Session& session, const LoadRequest& request) {
  return request.ranks <= kMaxRanks &&
         request.ranks <= static_cast<std::uint32_t>(session.core_count());
}

LoadSettings make_settings(const Session& session, const LoadRequest& request) {
  const Environment& environment = session.environment();
  LoadSettings settings;
  settings.target = session.topology().instance().target;
  settings.logical_core_size = session.topology().logical_core_size();
  settings.rank = request.rank;
  settings.ranks = request.ranks;
  settings.root_comm_id = environment.root_comm_id;
  settings.timeout = environment.execution_timeout;
  settings.peers_reachable = peers_reachable(session, request);
  settings.validate_hash = environment.validate_hash;
  settings.allow_legacy_neff = environment.allow_legacy_neff;
  settings.fail_out_of_bounds = env_flag("NKIPY_EMULATOR_FAIL_OUT_OF_BOUNDS", false);
  return settings;
}

// Equal for ranks that load the same program. A collision would need two programs of
// one length and hash in one process: then their ranks would be mixed up.
std::string group_key(const LoadRequest& request) {
  const std::string_view bytes(static_cast<const char*>(request.neff), request.size);
  return std::to_string(request.ranks) + "/" + std::to_string(request.size) + "/" +
         std::to_string(std::hash<std::string_view>()(bytes));
}

RankSeat take_seat(Session& session, const LoadRequest& request, int core) {
  const auto compile = [&] {
    return session.engine()->load(request.neff, request.size,
                                  make_settings(session, request));
  };
  if (request.ranks == 1) return RankSeat(compile());
  return RankGroups::instance().join(group_key(request), request.rank, request.ranks,
                                     core, compile);
}

}  // namespace

nrt_model_t* load_model(Session& session, const LoadRequest& request) {
  require(request.neff != nullptr, "the NEFF is NULL");
  require(request.size != 0, "the NEFF has no bytes");
  check_ranks(request);
  const int core = choose_core(session, request);
  const trace::Scope scope(trace::EventType::nrt_load, core, request.size);
  const auto model = std::make_shared<Model>(core, take_seat(session, request, core),
                                             session.core(core).hbm);
  EMULATOR_LOG(nmgr, info, "nrt_load", "model %u '%s' on core %d, rank %u of %u",
               model->id(), model->description().name.c_str(), core, request.rank,
               request.ranks);
  return static_cast<nrt_model_t*>(session.models.insert(model));
}

}  // namespace emulator
