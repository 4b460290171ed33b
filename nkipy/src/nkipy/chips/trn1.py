"""Trainium, and Inferentia2, whose cores are the same."""

from __future__ import annotations

from dataclasses import replace

from nkipy.chips.record import COMMON_DTYPES, Chip, Instance

TRN1 = Chip(
    name="trn1",
    product="Trainium",
    page="trainium",
    generation=2,
    code_name="sunda",
    targets=("trn1", "trn1n"),
    compiles_as="trn1",
    families={"trn1": 2, "trn1n": 3},
    instances=(
        Instance(name="trn1", size=1, chips=1, lnc=1),
        Instance(name="trn1.2xlarge", size=1, chips=1),
        Instance(name="trn1.32xlarge", size=6, chips=16),
        Instance(name="trn1n.32xlarge", size=6, chips=16),
    ),
    cores=2,
    lnc=(1,),
    hbm_bytes=32 << 30,
    hbm_gb_s=820,
    cores_per_hbm=1,
    hbm_reserved_bytes=96 << 20,
    partitions=128,
    sbuf_bytes=24 << 20,
    psum_bytes=2 << 20,
    psum_banks=8,
    sbuf_reserved_bytes=16384 + 8,  # as on trn2: nothing is documented
    exclusive=(("vector", "gpsimd", "sbuf"), ("vector", "scalar", "psum")),
    tensor_ghz=2.8,
    vector_ghz=1.12,
    scalar_ghz=1.4,
    gpsimd_ghz=1.4,
    elements_per_cycle={
        "tensor": {"other": 256},
        "vector": {"other": 128},
        "scalar": {"other": 128},
    },
    tflops={"bfloat16": 92, "float16": 92, "float8": 92, "float32": 23},
    stationary_columns=128,
    moving_columns={"float32": 512},
    bn_stats_elements=512,
    dtypes=COMMON_DTYPES,
    native_int32_dot=True,
    fp8_factor=1.0,
    vector_16bit_speedup=1.0,
    # TensorE: MM_INIT_LATENCY. VectorE: about 100. ScalarE: dependent instructions of
    # one element start every 264 cycles, of which 64 are the instruction's own.
    # GpSimd: ours, the 60 cycles of an access to the SBUF and VectorE's 100.
    overhead_cycles={"tensor": 64, "vector": 100, "scalar": 200, "gpsimd": 160},
    semaphore_latency_ns=200,  # ours: chains of instructions take 0.2 to 0.35 us each
    # Ours: an iteration of 14.2 us of work took 17.9 us (nki-dynamic-loops).
    loop_barrier_ns=3700,
    dma_engines=16,
    dma_engine_gb_s=17,
    dma_engine_peak_gb_s=27.2,
    dma_start_ns=1300,
    dma_saturating_bytes=4096,
    dma_half_rate_bytes=512,  # ours: much slower below 512 bytes
    hwdge_ns=0,  # there is none
    cc_cores=6,
    link_gb_s=384,  # trn1n has 768, which nothing looks at
    link_latency_ns=1500,  # 1 to 2 us
    linked_chips=16,  # trn1.32xlarge
    network_gb_s=800 / 8,  # trn1.32xlarge; trn1n has twice that
    network_latency_ns=15000,
)

INF2 = replace(
    TRN1,
    name="inf2",
    product="Inferentia2",
    page="inferentia2",
    code_name=None,
    targets=("inf2",),
    families={"inf2": 4, "inf2e": 7},
    instances=(
        Instance(name="inf2", size=0, chips=1, lnc=1),
        Instance(name="inf2.xlarge", size=0, chips=1),
        Instance(name="inf2.8xlarge", size=4, chips=1),
        Instance(name="inf2.24xlarge", size=5, chips=6),
        Instance(name="inf2.48xlarge", size=7, chips=12),
    ),
    link_gb_s=192,
    linked_chips=12,  # inf2.48xlarge
    network_gb_s=100 / 8,
)
