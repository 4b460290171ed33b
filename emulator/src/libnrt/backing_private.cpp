// Memory of this process alone: the allocator's for small blocks, the kernel's for
// others.
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "memory.h"

namespace emulator {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = 4096;
// From here on, zeroing costs more than asking the kernel, which does it when touched.
constexpr std::size_t kMappedFrom = std::size_t{128} << 10;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::byte* allocate_small(std::size_t size) noexcept {
  void* block = nullptr;
  const std::size_t alignment = size >= kPage ? kPage : kAlignment;
  if (posix_memalign(&block, alignment, size) != 0) return nullptr;
  std::memset(block, 0, size);
  return static_cast<std::byte*>(block);
}

std::byte* map(std::size_t size) noexcept {
  void* block = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return block == MAP_FAILED ? nullptr : static_cast<std::byte*>(block);
}

// In huge pages, as many as it has whole ones: it begins with one.
std::byte* map_huge(std::size_t size) noexcept {
  if (size > SIZE_MAX - 2 * kHugePage) return nullptr;
  const std::size_t mapped = (size + kPage - 1) / kPage * kPage;
  std::byte* const block = map(mapped + kHugePage);
  if (block == nullptr) return map(size);
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  const std::size_t before = (kHugePage - address % kHugePage) % kHugePage;
  std::byte* const first = block + before;
  if (before != 0) munmap(block, before);
  munmap(first + mapped, kHugePage - before);
  // Advice: where it is not taken, nothing is lost.
  madvise(first, mapped, MADV_HUGEPAGE);
  return first;
}

std::byte* allocate_mapped(std::size_t size) noexcept {
  return size < kHugePage ? map(size) : map_huge(size);
}

class PrivateBacking final : public Backing {
 public:
  std::byte* allocate(std::size_t size) noexcept override {
    return size < kMappedFrom ? allocate_small(size) : allocate_mapped(size);
  }

  void free(std::byte* data, std::size_t size) noexcept override {
    if (size < kMappedFrom) {
      std::free(data);
    } else {
      munmap(data, size);
    }
  }
};

}  // namespace

std::shared_ptr<Backing> make_private_backing() {
  return std::make_shared<PrivateBacking>();
}

}  // namespace emulator
