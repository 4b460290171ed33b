// Ranks of several machines that exchange at random, without Python and XLA: for
// sanitizers. Each machine is a memory of its own; links are sockets.
//
//     world_stress RANKS MACHINES SECONDS [processes]
//
// Ranks are threads, all of a machine in one mapping, so that ThreadSanitizer sees what
// they do to each other; or processes.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "collective_exchange.h"

namespace {

using nkipy::Collective;
using nkipy::Link;
using nkipy::Member;
using nkipy::WorldMemory;

struct Sockets {
  int teller, hearer;
};

struct World {
  uint32_t ranks, machines;
  std::vector<int> memories;                  // by machine
  std::vector<std::vector<Sockets>> sockets;  // by rank and machine
  uint32_t machine_of(uint32_t rank) const { return rank % machines; }
};

World make_world(uint32_t ranks, uint32_t machines) {
  World world{ranks, machines, {}, {}};
  for (uint32_t m = 0; m < machines; ++m) {
    const int memory = memfd_create("world", MFD_CLOEXEC);
    const auto size = static_cast<off_t>(WorldMemory::size_for(ranks));
    if (memory < 0 || ftruncate(memory, size) != 0) abort();
    world.memories.push_back(memory);
  }
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    world.sockets.emplace_back();
    for (uint32_t m = 0; m < machines; ++m) {
      int pair[2] = {-1, -1};
      if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) abort();
      world.sockets[rank].push_back({pair[0], pair[1]});
    }
  }
  return world;
}

// What all ranks do next, who know the same seed.
struct Step {
  std::vector<std::vector<uint32_t>> groups;
  Collective::Kind kind;
  bool is_split;
  size_t outer, elements;  // of one piece, in each block
};

Step next_step(std::mt19937& random, uint32_t ranks) {
  std::vector<uint32_t> order(ranks);
  for (uint32_t i = 0; i < ranks; ++i) order[i] = i;
  for (uint32_t i = ranks; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  Step step{{}, static_cast<Collective::Kind>(random() % 3), random() % 2 == 0, 0, 0};
  const uint32_t size = 1 + random() % ranks;
  for (uint32_t i = 0; i < ranks; i += size) {
    step.groups.emplace_back(order.begin() + i,
                             order.begin() + std::min(i + size, ranks));
  }
  if (step.kind == Collective::Kind::kTake) step.is_split = false;
  step.outer = 1 + random() % 3;
  const size_t sizes[] = {0, 1, 17, 1000, 40'000, 200'000};
  step.elements = sizes[random() % 6] / step.outer;
  return step;
}

// Element `i` of a rank's operand: sums of them have no rounding.
uint32_t value(uint32_t rank, uint32_t step, size_t i) {
  return rank * 1009 + step * 31 + static_cast<uint32_t>(i) * 7;
}

// How many elements of the result are wrong.
size_t wrong(const Collective& c, uint32_t step, const std::vector<uint32_t>& result) {
  const size_t ranks = c.group.size(), piece = c.inner / sizeof(uint32_t);
  const size_t pieces = c.is_split ? ranks : 1, own = c.is_split ? c.position : 0;
  const auto given = [&](size_t position, size_t block, size_t i) {
    return value(c.group[position], step, (block * pieces + own) * piece + i);
  };
  size_t count = 0, at = 0;
  for (size_t block = 0; block < c.outer; ++block) {
    const size_t parts = c.kind == Collective::Kind::kPlace ? ranks : 1;
    for (size_t part = 0; part < parts; ++part) {
      for (size_t i = 0; i < piece; ++i, ++at) {
        uint32_t expected = 0;
        if (c.kind == Collective::Kind::kPlace) {
          expected = given(part, block, i);
        } else if (c.kind == Collective::Kind::kTake) {
          if (c.source >= 0) {
            expected = given(static_cast<size_t>(c.source), block, i);
          }
        } else {
          for (size_t r = 0; r < ranks; ++r) expected += given(r, block, i);
        }
        count += result[at] != expected;
      }
    }
  }
  return count;
}

void run_step(Member& member, const Step& step, uint32_t number) {
  Collective c;
  for (const auto& group : step.groups) {
    for (size_t i = 0; i < group.size(); ++i) {
      if (group[i] != member.rank()) continue;
      c.group = group;
      c.position = i;
    }
  }
  c.kind = step.kind;
  c.is_split = step.is_split;
  c.outer = step.outer;
  c.inner = step.elements * sizeof(uint32_t);
  c.element = sizeof(uint32_t);
  c.reduce = nkipy::find_reduction("add", xla::ffi::DataType::U32);
  if (c.kind == Collective::Kind::kTake) {  // the first one's, but not for the last
    c.source = c.position + 1 == c.group.size() ? -1 : 0;
    c.is_taken = c.position == 0;
  }
  c.text = "step " + std::to_string(number);
  c.signature = number;
  const size_t pieces = c.is_split ? c.group.size() : 1;
  const size_t parts = c.kind == Collective::Kind::kPlace ? c.group.size() : 1;
  std::vector<uint32_t> operand(c.outer * step.elements * pieces);
  std::vector<uint32_t> result(c.outer * step.elements * parts);
  for (size_t i = 0; i < operand.size(); ++i) {
    operand[i] = value(member.rank(), number, i);
  }
  member.run(
      c, reinterpret_cast<const char*>(operand.data()),
      reinterpret_cast<char*>(result.data()), [] { return false; },
      [] { return std::string("never"); });
  if (const size_t count = wrong(c, number, result)) {
    fprintf(stderr, "rank %u: %zu elements of step %u are wrong\n", member.rank(),
            count, number);
    exit(1);
  }
}

// Each rank waits for the next one, which is in another group, and is told so.
void wait_in_a_ring(Member& member, uint32_t ranks) {
  Collective c;
  c.group = {member.rank(), (member.rank() + 1) % ranks};
  c.element = sizeof(uint32_t);
  c.inner = ranks == 3 ? 0 : c.element;  // without elements nobody publishes any
  c.reduce = nkipy::find_reduction("add", xla::ffi::DataType::U32);
  c.text = "group " + std::to_string(member.rank());
  uint32_t operand = 0, result = 0;
  try {
    member.run(
        c, reinterpret_cast<const char*>(&operand), reinterpret_cast<char*>(&result),
        [] { return false; }, [] { return std::string("never"); });
  } catch (const nkipy::WorldFailure& failure) {
    const char* told = strstr(failure.what(), "wait for each other: rank 0 in group 0");
    if (told != nullptr) return;
    fprintf(stderr, "rank %u: %s\n", member.rank(), failure.what());
  }
  exit(1);
}

void run_rank(const World& world, std::shared_ptr<WorldMemory> memory, uint32_t rank,
              uint32_t steps) {
  std::vector<std::unique_ptr<Link>> links;
  for (uint32_t m = 0; m < world.machines; ++m) {
    if (m == world.machine_of(rank)) continue;
    std::vector<uint32_t> there;
    for (uint32_t other = m; other < world.ranks; other += world.machines) {
      there.push_back(other);
    }
    links.push_back(std::make_unique<Link>(dup(world.sockets[rank][m].teller), there));
  }
  Member member(std::move(memory), rank, std::move(links));
  std::mt19937 random(world.ranks * 100 + world.machines);
  for (uint32_t number = 1; number <= steps; ++number) {
    run_step(member, next_step(random, world.ranks), number);
  }
  if (world.machines == 1 && world.ranks > 1) wait_in_a_ring(member, world.ranks);
  member.leave();
}

std::vector<std::thread> followers(const World& world, uint32_t machine,
                                   const std::shared_ptr<WorldMemory>& memory) {
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < world.ranks; ++rank) {
    if (world.machine_of(rank) == machine) continue;
    threads.emplace_back([&world, machine, memory, rank] {
      nkipy::follow(world.sockets[rank][machine].hearer, rank, *memory);
    });
  }
  return threads;
}

void run_threads(const World& world, uint32_t steps) {
  std::vector<std::thread> threads;
  for (uint32_t m = 0; m < world.machines; ++m) {
    auto memory = std::make_shared<WorldMemory>(world.memories[m], world.ranks);
    for (auto& thread : followers(world, m, memory)) {
      threads.push_back(std::move(thread));
    }
    for (uint32_t rank = m; rank < world.ranks; rank += world.machines) {
      threads.emplace_back(
          [&world, memory, rank, steps] { run_rank(world, memory, rank, steps); });
    }
  }
  for (auto& thread : threads) thread.join();
}

void run_processes(const World& world, uint32_t steps) {
  std::vector<pid_t> children;
  for (uint32_t rank = 0; rank < world.ranks; ++rank) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    const uint32_t m = world.machine_of(rank);
    auto memory = std::make_shared<WorldMemory>(world.memories[m], world.ranks);
    std::vector<std::thread> hearing;
    if (rank < world.machines) hearing = followers(world, m, memory);
    run_rank(world, memory, rank, steps);
    for (auto& thread : hearing) thread.join();
    exit(0);
  }
  for (const pid_t child : children) {
    int status = -1;
    if (waitpid(child, &status, 0) != child || status != 0) exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const auto ranks = static_cast<uint32_t>(atoi(argv[1]));
  const auto machines = static_cast<uint32_t>(atoi(argv[2]));
  const bool in_processes = argc > 4 && strcmp(argv[4], "processes") == 0;
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(atoi(argv[3]));
  size_t rounds = 0;
  do {
    const World world = make_world(ranks, machines);
    if (in_processes) {
      run_processes(world, 40);
    } else {
      run_threads(world, 40);
    }
    for (const int memory : world.memories) close(memory);
    for (const auto& of_rank : world.sockets) {
      for (const Sockets& pair : of_rank) {
        close(pair.teller);
        close(pair.hearer);
      }
    }
    ++rounds;
  } while (std::chrono::steady_clock::now() < end);
  printf("%zu worlds of %u ranks on %u machines\n", rounds, ranks, machines);
  return 0;
}
