"""Trainium3."""

from __future__ import annotations

from nkipy.chips.record import COMMON_DTYPES, Chip, Instance

TRN3 = Chip(
    name="trn3",
    product="Trainium3",
    page="trainium3",
    generation=4,
    code_name="mariana",
    targets=("trn3",),
    compiles_as="trn3",
    families={"trn3": 14, "trn3pds98": 15},
    instances=(
        Instance(name="trn3", size=8, chips=1, lnc=1),
        # Ours, like trn2's: what is documented are UltraServers of 64 and 144 chips.
        Instance(name="trn3.48xlarge", size=7, chips=16),
    ),
    cores=8,
    lnc=(2, 1),
    hbm_bytes=144 << 30,
    hbm_gb_s=4900,  # 4.7 TB/s in the NKI guide
    cores_per_hbm=2,  # as on trn2: nothing is documented
    hbm_reserved_bytes=96 << 20,
    partitions=128,
    sbuf_bytes=32 << 20,
    psum_bytes=2 << 20,
    psum_banks=8,
    sbuf_reserved_bytes=16384 + 8,  # as on trn2: nothing is documented
    exclusive=(),
    tensor_ghz=2.4,
    vector_ghz=1.2,
    scalar_ghz=1.2,
    gpsimd_ghz=1.2,
    elements_per_cycle={
        "tensor": {"other": 256, "mx": 1024, "sparse": 640},
        "vector": {"other": 256, "bfloat16": 512, "float16": 512, "float8": 512},
        "scalar": {"other": 128, "bfloat16": 256, "float8": 256},
    },
    tflops={"bfloat16": 79, "float16": 79, "mx": 315, "float32": 20},
    stationary_columns=128,
    moving_columns={"float32": 4096, "bfloat16": 8192},
    bn_stats_elements=512,
    dtypes=(*COMMON_DTYPES, "float8_e4m3fn"),
    native_int32_dot=False,
    fp8_factor=0.5,
    vector_16bit_speedup=2.0,
    # As on trn1.
    overhead_cycles={"tensor": 64, "vector": 100, "scalar": 200, "gpsimd": 160},
    semaphore_latency_ns=200,  # as on trn1
    loop_barrier_ns=3700,  # as on trn1
    dma_engines=16,
    dma_engine_gb_s=33,
    dma_engine_peak_gb_s=38.4,
    dma_start_ns=1300,
    dma_saturating_bytes=4096,
    dma_half_rate_bytes=512,
    hwdge_ns=600,
    cc_cores=16,
    link_gb_s=2560,  # 2,048 GiB/s on the page of the architecture
    link_latency_ns=1500,
    linked_chips=64,  # UltraServer of the first generation
    network_gb_s=12800 / 8,  # of that
    network_latency_ns=15000,
)
