"""The nouns that cross folders, frozen, in the order in which data flows through them.

    ImageRequest > Step > Generation        what is asked, what is seen on the way, what came of it
    VoiceRequest > VoiceStep > Speech       the same of speech
    Reading > Trace                         one look at the machine, and a run of looks

`None` means "cannot tell"; `missing` next to it says why. It never means zero. Units live in the
names: `_s` seconds, `_mib` 2**20 bytes, `_w` watts, `_j` joules, `_c` degrees Celsius.
"""

from __future__ import annotations

from diffusion_bench.records.base import (
    MAX_SEED,
    MOST_PRICE,
    Cancelled,
    Complaint,
    MemoryBytes,
    PrecisionName,
    Record,
    Seed,
    by_reason,
    complaints_of,
    digest,
    explain,
    trusted,
)
from diffusion_bench.records.devices import (
    SHARES,
    DeviceShare,
    DevicesPlan,
    ModelDevice,
    is_one_processor,
)
from diffusion_bench.records.findings import LEVELS, Finding, Level
from diffusion_bench.records.image import (
    BUNDLED_MODEL,
    BUNDLED_SIDE,
    MAX_SIDE,
    Generation,
    ImageRequest,
    Memory,
    OnStep,
    SamplerName,
    Stage,
    Stages,
    Step,
    ignore_step,
)
from diffusion_bench.records.machine import (
    CpuSpent,
    GpuProcess,
    GpuReading,
    GpuTrace,
    HostReading,
    MachineState,
    OtherLoad,
    Reading,
    Trace,
)
from diffusion_bench.records.machine_speed import MAX_PROBES, SpeedProbe
from diffusion_bench.records.quality import (
    AUTO_SCORER,
    Estimate,
    Quality,
    QualityPlan,
    Share,
)
from diffusion_bench.records.speed import AUTO, AskedSpeed, Speed, parse_speed
from diffusion_bench.records.voice import (
    BUNDLED_VOICE,
    BUNDLED_VOICE_MODEL,
    MAX_TEXT,
    OnAudio,
    OnVoiceStep,
    Speech,
    VoiceRequest,
    VoiceSamplerName,
    VoiceStage,
    VoiceStages,
    VoiceStep,
    ignore_audio,
    ignore_voice_step,
)
from diffusion_bench.records.work import Request

__all__ = [
    "AUTO",
    "AUTO_SCORER",
    "BUNDLED_MODEL",
    "BUNDLED_SIDE",
    "BUNDLED_VOICE",
    "BUNDLED_VOICE_MODEL",
    "LEVELS",
    "MAX_PROBES",
    "MAX_SEED",
    "MAX_SIDE",
    "MAX_TEXT",
    "MOST_PRICE",
    "SHARES",
    "AskedSpeed",
    "Cancelled",
    "Complaint",
    "CpuSpent",
    "DeviceShare",
    "DevicesPlan",
    "Estimate",
    "Finding",
    "Generation",
    "GpuProcess",
    "GpuReading",
    "GpuTrace",
    "HostReading",
    "ImageRequest",
    "Level",
    "MachineState",
    "Memory",
    "MemoryBytes",
    "ModelDevice",
    "OnAudio",
    "OnStep",
    "OnVoiceStep",
    "OtherLoad",
    "PrecisionName",
    "Quality",
    "QualityPlan",
    "Reading",
    "Record",
    "Request",
    "SamplerName",
    "Seed",
    "Share",
    "Speech",
    "Speed",
    "SpeedProbe",
    "Stage",
    "Stages",
    "Step",
    "Trace",
    "VoiceRequest",
    "VoiceSamplerName",
    "VoiceStage",
    "VoiceStages",
    "VoiceStep",
    "by_reason",
    "complaints_of",
    "digest",
    "explain",
    "ignore_audio",
    "ignore_step",
    "ignore_voice_step",
    "is_one_processor",
    "parse_speed",
    "trusted",
]
