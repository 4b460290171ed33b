// What importing the module registers with torch, each part in a file of its own.
#pragma once

#include <ATen/core/Generator.h>

namespace spike_torch {

/// The device itself: its guard, streams and events.
void register_device();
/// The allocator, generators and pinned memory.
void register_hooks();
/// Has operations fall back that the CPU has a kernel for, and that torch would else
/// put together of others for a device, with other roundings.
void register_fallbacks();
/// Times for torch's profilers.
void register_profiling();
/// Has operators refuse that would make a sparse tensor of a core's dense ones.
void register_refusals();
/// What torch.autocast casts.
void register_autocast();
/// Has results that the CPU computes for a core lie in the core's memory.
void register_host_results();

/// Returns when autograd's threads hold nothing more of backward passes that are done.
void wait_for_autograd();

/// A core's default generator, and a new one.
const at::Generator& default_generator(c10::DeviceIndex device);
at::Generator new_generator(c10::DeviceIndex device);
/// The CPU's generator that one of a core is made of.
at::Generator host_generator(const at::Generator& generator);

}  // namespace spike_torch
