"""The names of the language, as its documentation lists them: SDK 2.33, NKI 0.7.

A line is a name; for a function, with its parameters in order: those with ``=`` may be
left out, those behind ``*`` are given by name. Of names before ``|`` all have the
parameters that are behind it. A line that ends with a comma goes on in the next.
"""

from __future__ import annotations

#: By module, without ``nki.``.
DOCUMENTED = {
    "": """
        jit(fn=, *, compile_config=, specialization_config=)
        simulate(kernel)
    """,
    "compiler": """
        AddressRotation
        CompileConfig(address_rotation=, non_ssa_legalization=,
            dead_code_elim=, barrier_check=)
        SpecializationConfig(allow_nested_config_override=)
    """,
    "typing": "tensor",
    "simulator": "simulate_kernel(func, args=, kwargs=)",
    "isa": """
        nc_matmul(dst, stationary, moving, is_stationary_onezero=,
            is_moving_onezero=, is_transpose=, accumulate=, tile_position=,
            tile_size=, perf_mode=, name=)
        nc_matmul_mx(dst, stationary, moving, stationary_scale, moving_scale,
            tile_position=, tile_size=, accumulate=, name=)
        nc_transpose(dst, data, engine=, name=)
        activation(dst, op, data, bias=, scale=, reduce_op=, reduce_res=,
            reduce_cmd=, engine=, name=)
        activation_reduce(dst, op, data, reduce_op, reduce_res, bias=, scale=, name=)
        activate2(dst, op, data, imm0, imm1, op0, op1, relu_param=, reverse0=,
            reverse1=, reduce_op=, reduce_res=, reduce_cmd=, engine=, name=)
        exponential(dst, src, max_value=, reduce_res=, reduce_cmd=, reduce_init=, name=)
        tensor_reduce(dst, op, data, axis, negate=, keepdims=, name=)
        tensor_partition_reduce(dst, op, data, name=)
        tensor_tensor(dst, data1, data2, op, engine=, name=)
        tensor_tensor_scan(dst, data0, data1, initial, op0, op1, reverse0=,
            reverse1=, name=)
        scalar_tensor_tensor(dst, data, op0, operand0, op1, operand1,
            reverse0=, reverse1=)
        tensor_scalar(dst, data, op0, operand0, reverse0=, op1=, operand1=,
            reverse1=, engine=, name=)
        tensor_scalar_reduce(dst, data, op0, operand0, reduce_op, reduce_res=,
            reverse0=, reduce_cmd=, reduce_init=, reduce_res_negate=, name=)
        tensor_scalar_cumulative(dst, src, op0, op1, imm0, imm1=, reduce_cmd=, name=)
        tensor_copy(dst, src, engine=, name=)
        tensor_copy_predicated(dst, src, predicate, reverse_pred=, name=)
        reciprocal(dst, data, name=)
        quantize_mx(dst, src, dst_scale, name=)
        iota(dst, pattern, offset=, channel_multiplier=, name=)
        dropout(dst, data, prob, name=)
        affine_select(dst, pattern, channel_multiplier, on_true_tile,
            on_false_value, cmp_op=, offset=, name=)
        range_select(dst, on_true_tile, comp_op0, comp_op1, bound0, bound1,
            reduce_cmd=, reduce_res=, reduce_op=, range_start=,
            on_false_value=, name=)
        select_reduce(dst, predicate, on_true, on_false, reduce_res=,
            reduce_cmd=, reduce_op=, reverse_pred=, name=)
        sequence_bounds(dst, segment_ids, name=)
        memset(dst, value, engine=, name=)
        bn_stats bn_aggr | (dst, data, name=)
        local_gather(dst, src_buffer, index, num_elem_per_idx=,
            num_valid_indices=, name=)
        nc_n_gather(dst, data, indices, name=)
        dma_copy(dst, src, priority=, oob_mode=, dge_mode=, engine=, name=)
        dma_transpose(dst, src, axes=, priority=, dge_mode=, oob_mode=, name=)
        dma_compute(dst, srcs, reduce_op, scales=, unique_indices=, oob_mode=, name=)
        max8(dst, src, name=)
        nc_find_index8(dst, data, vals, name=)
        nc_match_replace8(dst, data, vals, imm, dst_idx=, name=)
        nc_stream_shuffle(dst, src, shuffle_mask, name=)
        topk(val_dst, idx_dst, src, n)
        nonzero_with_count(dst, src, index_offset=, padding_val=, name=)
        register_alloc(x=)
        register_load register_move register_store | (dst, src)
        scalar_load(src)
        scalar_store(dst, value)
        core_barrier(data, cores, engine=, name=)
        sendrecv(src, dst, send_to_rank, recv_from_rank, pipe_id, dma_engine=, name=)
        rng rand_get_state | (dst, engine=, name=)
        rand2(dst, min, max, name=)
        rand_set_state(src_seeds, engine=, name=)
        set_rng_seed(src_seeds, name=)
        get_nc_version get_nc_sub_version | ()
        NkiInstruction NkiScalar NkiValidationError VirtualRegister
        dependency.runtime dependency.schedule
        engine.tensor engine.vector engine.scalar engine.gpsimd engine.dma
        engine.sync engine.unknown
        tensor_engine vector_engine scalar_engine gpsimd_engine unknown_engine
        dma_engine.dma dma_engine.gpsimd_dma
        reduce_cmd.idle reduce_cmd.reset reduce_cmd.reduce
        reduce_cmd.reset_reduce reduce_cmd.load_reduce
        dge_mode.unknown dge_mode.swdge dge_mode.hwdge dge_mode.none
        oob_mode.error oob_mode.skip
        matmul_perf_mode.none matmul_perf_mode.double_row
        nc_version.gen2 nc_version.gen3 nc_version.gen4
        NkiInstruction.depends_on NkiScalar.dtype
    """,
    "language": """
        ndarray(shape, dtype, buffer=, name=, address=)
        zeros ones | (shape, dtype, buffer=, name=)
        full(shape, fill_value, dtype, buffer=, name=)
        zeros_like empty_like | (x, dtype=, buffer=, name=)
        rand(shape, dtype)
        random_seed(seed)
        shared_constant(constant)
        shared_identity_matrix(n, dtype=, dst=)
        load load_transpose2d | (src, dtype=)
        store(dst, value)
        copy transpose | (x, dtype=)
        broadcast_to(x, shape)
        expand_dims(x, axis)
        gather_flattened(data, indices, axis=)
        where(condition, x, y)
        matmul(x, y, transpose_x=)
        affine_range sequential_range static_range dynamic_range
        fori_loop(lower, upper, body_fun, step=)
        while_loop(init, body_fun)
        ds(start, size)
        no_reorder()
        program_id(axis=)
        num_programs(axes=)
        program_ndim()
        device_print(print_prefix, tensor)
        abs arctan ceil cos exp floor log negative reciprocal rsqrt sign | (x, dtype=)
        sin sqrt square tan tanh trunc | (x, dtype=)
        abs_max abs_min add divide fmod maximum minimum mod multiply | (x, y, dtype=)
        power subtract | (x, y, dtype=)
        relu sigmoid silu silu_dx gelu gelu_dx gelu_apprx_sigmoid | (x, dtype=)
        gelu_apprx_sigmoid_dx gelu_apprx_tanh mish softplus erf erf_dx | (x, dtype=)
        softmax(x, axis=, dtype=)
        dropout(x, rate)
        rms_norm(x, w, axis, n, epsilon=)
        sum prod max min mean var all | (x, axis, dtype=, keepdims=)
        equal not_equal less less_equal greater greater_equal | (x, y, dtype=)
        logical_and logical_or logical_xor bitwise_and bitwise_or | (x, y, dtype=)
        bitwise_xor left_shift right_shift | (x, y, dtype=)
        logical_not invert | (x, dtype=)
        prelu bypass average
        sbuf psum hbm private_hbm shared_hbm
        MemoryRegion NKIObject DType
        is_hbm is_psum is_sbuf is_on_chip | (buffer)
        bool_ int8 int16 int32 int64 uint8 uint16 uint32
        float16 bfloat16 tfloat32 float32
        float8_e4m3 float8_e4m3fn float8_e5m2 float8_e8m0fnu
        float8_e5m2_x4 float8_e4m3fn_x4 float4_e2m1fn_x4
        tile_size.pmax tile_size.psum_fmax tile_size.psum_bank_fmax
        tile_size.psum_bank_fmax_bytes tile_size.psum_num_banks
        tile_size.gemm_stationary_fmax tile_size.gemm_moving_fmax
        tile_size.bn_stats_fmax
        tile_size.psum_min_align tile_size.sbuf_min_align tile_size.sbuf_size_bytes
        tile_size.sbuf_fmax tile_size.sbuf_fmax_bytes
        tile_size.total_available_sbuf_size
        tiles(source, *, tile_shape=)
        blocks(source, *, tile_shape=, block_shape)
        alloc_tiles(*, tile_shape, element_shape, buffer, dtype, address=, name=)
        alloc_blocks(*, tile_shape, block_shape, element_shape, buffer, dtype,
            address=, name=)
        NkiGrid.data NkiGrid.element_shape NkiGrid.shape NkiGrid.is_remainder
        NkiGrid.is_data_representable
        NkiGrid.index_step_elements NkiGrid.buffer NkiGrid.dtype
        NkiTileGrid NkiBlockGrid
        NkiTensor.shape NkiTensor.strides NkiTensor.offset NkiTensor.name
        NkiTensor.dtype NkiTensor.buffer NkiTensor.ndim NkiTensor.size
        NkiTensor.is_contiguous NkiTensor.get_pattern NkiTensor.is_indirect
        NkiTensor.permute(self, dims)
        NkiTensor.broadcast(self, dim, size)
        NkiTensor.expand_dim NkiTensor.squeeze_dim | (self, dim)
        NkiTensor.reshape_dim(self, dim, shape)
        NkiTensor.flatten_dims(self, start_dim, end_dim)
        NkiTensor.reshape(self, shape)
        NkiTensor.rearrange NkiTensor.vector_select NkiTensor.reinterpret_cast
        NkiTensor.view NkiTensor.indirect
        NkiTensor.slice(self, dim, start, end, step=)
        NkiTensor.select(self, dim, index)
        NkiTensor.ap(self, pattern, offset=, scalar_offset=, vector_offset=,
            indirect_dim=, dtype=)
    """,
    "collectives": """
        all_reduce(srcs, dsts, replica_group, op, priority=, name=)
        all_gather all_to_all | (srcs, dsts, replica_group, collective_dim,
            priority=, name=)
        reduce_scatter(srcs, dsts, replica_group, collective_dim, op, priority=, name=)
        all_gather_v all_to_all_v all_gather_v_prepare all_to_all_v_prepare
        all_gather_v_trigger all_to_all_v_trigger
        collective_permute(srcs, dsts, source_target_pairs, priority=, name=)
        collective_permute_implicit(srcs_by_channel, dsts_by_channel,
            replica_group, channel_ids=, priority=, name=)
        collective_permute_implicit_reduce
        collective_permute_implicit_current_processing_rank_id(iteration_id,
            replica_group, channel_id=, name=)
        rank_id
        ReplicaGroup.from_partition_op(world_size, op, operand)
        rg_partition_op.bitwise_and rg_partition_op.div rg_partition_op.mod
    """,
    # No document has these; kernels that are published import them.
    "isa.constants": """
        dependency dge_mode dma_engine engine matmul_perf_mode nc_version
        oob_mode reduce_cmd
    """,
    "dtype": """
        bool_ int8 int16 int32 int64 uint8 uint16 uint32
        float16 bfloat16 tfloat32 float32 float8_e4m3 float8_e4m3fn float8_e5m2
        float8_e8m0fnu float8_e5m2_x4 float8_e4m3fn_x4 float4_e2m1fn_x4
    """,
}
