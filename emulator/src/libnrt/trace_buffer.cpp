#include "trace_buffer.h"

#include <algorithm>
#include <shared_mutex>

namespace emulator::trace {
namespace {

/// Who listens. Never destroyed: calls during exit may record.
struct Audience {
  std::shared_mutex mutex;
  std::vector<std::shared_ptr<Buffer>> buffers;
};

Audience& audience() {
  static Audience* const instance = new Audience;
  return *instance;
}

}  // namespace

bool Capture::wants(const Event& event) const noexcept {
  if (!types[static_cast<std::size_t>(event.type)]) return false;
  if (event.core < 0) return true;
  const auto found = cores.find(static_cast<std::uint32_t>(event.core));
  return found == cores.end() || found->second;
}

void Buffer::record(const Event& event) noexcept try {
  if (!capture_.wants(event) || capture_.max_events_per_core == 0) return;
  std::lock_guard<std::mutex> lock(mutex_);
  Ring& ring = rings_[event.core];
  if (ring.size() >= capture_.max_events_per_core) {
    ring.pop_front();
    ++dropped_;
  }
  ring.push_back({sequence_++, event});
} catch (...) {
  // No memory for an event: the trace lacks it, the program goes on.
}

std::vector<Buffer::Entry> Buffer::take(const Selection& selection) {
  std::vector<Entry> entries;
  for (auto& [core, ring] : rings_) {
    const bool wanted = selection.core == Selection::kAll || core < 0 ||
                        selection.core == static_cast<std::uint64_t>(core);
    if (!wanted) continue;
    const auto count =
        std::min<std::uint64_t>(ring.size(), selection.max_events_per_core);
    const auto end = ring.begin() + static_cast<std::ptrdiff_t>(count);
    entries.insert(entries.end(), ring.begin(), end);
    ring.erase(ring.begin(), end);
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.sequence < b.sequence; });
  return entries;
}

std::string Buffer::fetch(const Selection& selection) {
  std::vector<Entry> entries;
  std::uint64_t dropped = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    entries = take(selection);
    std::swap(dropped, dropped_);
  }
  std::string text =
      "{\"emulated\":true,\"nc_timestamps\":\"estimated by a cost model, not "
      "measured\","
      "\"dropped_events\":" +
      std::to_string(dropped) + ",\"events\":[";
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) text += ',';
    append_json(entries[i].event, &text);
  }
  return text + "]}";
}

void listen(std::shared_ptr<Buffer> buffer) {
  Audience& all = audience();
  std::unique_lock<std::shared_mutex> lock(all.mutex);
  all.buffers.push_back(std::move(buffer));
  listeners.store(static_cast<int>(all.buffers.size()));
}

void stop_listening(const std::shared_ptr<Buffer>& buffer) noexcept {
  Audience& all = audience();
  std::unique_lock<std::shared_mutex> lock(all.mutex);
  const auto found = std::find(all.buffers.begin(), all.buffers.end(), buffer);
  if (found != all.buffers.end()) all.buffers.erase(found);
  listeners.store(static_cast<int>(all.buffers.size()));
}

void record(const Event& event) noexcept {
  if (!enabled()) return;
  Audience& all = audience();
  std::shared_lock<std::shared_mutex> lock(all.mutex);
  for (const auto& buffer : all.buffers) buffer->record(event);
}

}  // namespace emulator::trace
