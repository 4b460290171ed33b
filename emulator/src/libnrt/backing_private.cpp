// Memory of this process alone: the allocator's for small blocks, the kernel's for
// others.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "memory.h"

namespace emulator {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = 4096;
// From here on, zeroing costs more than asking the kernel, which does it when touched.
constexpr std::size_t kMappedFrom = std::size_t{128} << 10;
constexpr std::size_t kHugeFrom = std::size_t{4} << 20;

std::byte* allocate_small(std::size_t size) noexcept {
  void* block = nullptr;
  const std::size_t alignment = size >= kPage ? kPage : kAlignment;
  if (posix_memalign(&block, alignment, size) != 0) return nullptr;
  std::memset(block, 0, size);
  return static_cast<std::byte*>(block);
}

std::byte* allocate_mapped(std::size_t size) noexcept {
  void* block = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  // Advice: where it is not taken, nothing is lost.
  if (size >= kHugeFrom) madvise(block, size, MADV_HUGEPAGE);
  return static_cast<std::byte*>(block);
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
