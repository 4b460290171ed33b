"""Trainium2."""

from __future__ import annotations

from nkipy.chips.record import COMMON_DTYPES, Chip, Instance

TRN2 = Chip(
    name="trn2",
    product="Trainium2",
    page="trainium2",
    generation=3,
    code_name="cayman",
    targets=("trn2",),
    compiles_as="trn2",
    families={
        **{"trn2": 5, "trn2n": 6, "trn2p": 8, "trn2u": 9},
        **{"trn2e": 10, "trn2eu": 11, "trn2ac": 12, "trn2uac": 13},
    },
    instances=(
        Instance(name="trn2", size=8, chips=1, lnc=1),
        Instance(name="trn2.3xlarge", size=8, chips=1),
        Instance(name="trn2.48xlarge", size=7, chips=16),
        Instance(name="trn2u.48xlarge", size=7, chips=16),
    ),
    cores=8,
    lnc=(2, 1),
    hbm_bytes=96 << 30,
    hbm_gb_s=2900,
    cores_per_hbm=2,
    hbm_reserved_bytes=96 << 20,
    partitions=128,
    sbuf_bytes=28 << 20,
    psum_bytes=2 << 20,
    psum_banks=8,
    sbuf_reserved_bytes=16384 + 8,  # 229376 - 16384 - 8 can be used
    exclusive=(),
    tensor_ghz=2.4,
    vector_ghz=0.96,
    scalar_ghz=1.2,
    gpsimd_ghz=1.2,
    elements_per_cycle={
        "tensor": {"other": 256, "float8": 512, "sparse": 640},
        "vector": {"other": 256, "bfloat16": 512, "float16": 512},
        "scalar": {"other": 128},
    },
    tflops={
        **{"bfloat16": 79, "float16": 79, "float8": 158, "float32": 20},
        "sparse": 316,
    },
    stationary_columns=128,
    moving_columns={"float32": 512},
    bn_stats_elements=512,
    dtypes=COMMON_DTYPES,
    native_int32_dot=False,
    fp8_factor=0.5,
    vector_16bit_speedup=2.0,  # two or four times, by the instruction: the less
    # As on trn1.
    overhead_cycles={"tensor": 64, "vector": 100, "scalar": 200, "gpsimd": 160},
    semaphore_latency_ns=200,  # as on trn1
    loop_barrier_ns=3700,  # as on trn1
    dma_engines=16,
    dma_engine_gb_s=23,
    dma_engine_peak_gb_s=27.2,
    dma_start_ns=1300,
    dma_saturating_bytes=4096,
    dma_half_rate_bytes=512,
    hwdge_ns=600,
    cc_cores=16,
    link_gb_s=1280,
    link_latency_ns=1500,
    linked_chips=16,  # trn2.48xlarge; an UltraServer has 64
    network_gb_s=3200 / 8,  # trn2.48xlarge
    network_latency_ns=15000,
)
