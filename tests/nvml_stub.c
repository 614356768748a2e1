/* A stand-in for NVIDIA's libnvidia-ml.so.1, for tests on machines without a GPU.
 *
 * Built and driven by nvml_fake.py. The scenario comes from the environment, read at nvmlInit:
 *   NVML_STUB_GPUS      "name|MiB|watts;name|MiB|watts" (default: two cards)
 *   NVML_STUB_INIT      the code that nvmlInit returns
 *   NVML_STUB_ERRORS    "function@gpu#after=code;..."; @gpu and #after are optional: from its call
 *                       number `after` on, `function` of that GPU (or of each) returns `code`
 *   NVML_STUB_REASONS   the bits of the reasons for lower clocks (default: 0)
 *   NVML_STUB_BUSY      the utilisation in percent (default: 42); NVML_STUB_LIMIT: the power limit in
 *                       watts (default: twice what the card draws)
 *   NVML_STUB_COMPUTE   "pid;pid": the processes that compute; NVML_STUB_GRAPHICS: that draw
 *   NVML_STUB_PROCESS_MIB  what each of them holds (default: 1024); -1: not available, as of WDDM;
 *                       NVML_STUB_DRAWING_MIB: the same of those that draw, where it differs
 *   NVML_STUB_WIDE      version 3 lists the processes in longer entries, as drivers 535.43 to 535.86 do
 *   NVML_STUB_MIG       "name|MiB;name|MiB": the instances the first card is split into; in rules
 *                       and counts they are GPUs 8, 9, ...
 *   NVML_STUB_CLOCK     "manual": time stands still but for nvmlStubAdvanceMs
 *   NVML_STUB_HEALTH    "capability major|minor|persistence|memory errors|PCIe generation|CUDA", what
 *                       the doctor asks (default: 8|9|1|0|4|13000)
 *   NVML_STUB_ENERGY_MS how often the energy counter moves (default: at every call)
 * A running test changes it with nvmlStubError, nvmlStubAdvanceMs, nvmlStubHang (a function that
 * keeps its caller) and nvmlStubSwap (another card in a place), and counts nvmlStubCalls.
 * -DNVML_STUB_OLD leaves out what drivers before about 2020 did not have, and version 3 of the lists
 * of processes, which drivers before 510 have not.
 * The layouts are those of nvml.h; only what this project calls is here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
enum { MAX_GPUS = 8, MAX_INSTANCES = 7, MAX_RULES = 64, MAX_FUNCTIONS = 48 };
enum { FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, FUNCTION_LENGTH = 64 };

typedef unsigned long long u64;
typedef struct { int index, swapped; char name[96]; u64 memory_mib; double watts; } Gpu;
typedef struct { char function[FUNCTION_LENGTH]; int gpu, after, code; } Rule;
typedef struct { char function[FUNCTION_LENGTH]; int calls[MAX_GPUS + MAX_INSTANCES]; } Count;
typedef struct { u64 total, free, used; } MemoryV1;
typedef struct {
    char legacy_id[16];
    unsigned domain, bus, device, ids, subsystem;
    char bus_id[32];
} PciInfo;
typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; u64 memory; unsigned gpu_instance, compute_instance; } Process;
typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    unsigned type;
    int code;
    union { double d; unsigned u; u64 ull; } value;
} FieldValue;

static Gpu gpus[MAX_GPUS], instances[MAX_INSTANCES];
static Rule rules[MAX_RULES];
static Count counts[MAX_FUNCTIONS];
static int num_gpus, num_instances, num_rules, num_counts, started, manual;
static double manual_s, start_s;
static Rule hang; /* `code` is how long, in milliseconds */

static double now_s(void) {
    struct timespec now;
    if (manual) return manual_s;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9 - start_s;
}

static int *calls_of(const char *function, int gpu) {
    int i = 0;
    while (i < num_counts && strcmp(counts[i].function, function)) i++;
    if (i == num_counts && num_counts < MAX_FUNCTIONS)
        snprintf(counts[num_counts++].function, FUNCTION_LENGTH, "%s", function);
    return &counts[i].calls[gpu];
}

/* Count the call, and return the code that the scenario has for it. */
static int begin(const char *function, const Gpu *gpu) {
    int call = ++*calls_of(function, gpu->index);
    if (!started) return UNINITIALIZED;
    if (hang.code && !strcmp(hang.function, function) && hang.gpu == gpu->index) {
        struct timespec rest = {hang.code / 1000, hang.code % 1000 * 1000000L};
        nanosleep(&rest, NULL);
    }
    for (int i = num_rules - 1; i >= 0; i--) {
        const Rule *rule = &rules[i];
        int named = !strcmp(rule->function, function) || !strcmp(rule->function, "*");
        int here = rule->gpu < 0 || rule->gpu == gpu->index;
        if (named && here && call > rule->after) return rule->code;
    }
    return OK;
}

void nvmlStubError(const char *function, int gpu, int after, int code) {
    if (num_rules == MAX_RULES) abort();
    Rule *rule = &rules[num_rules++];
    snprintf(rule->function, sizeof rule->function, "%s", function);
    rule->gpu = gpu, rule->after = after, rule->code = code;
}

void nvmlStubHang(const char *function, int gpu, int ms) {
    snprintf(hang.function, sizeof hang.function, "%s", function);
    hang.gpu = gpu, hang.code = ms;
}

void nvmlStubSwap(int gpu) { gpus[gpu].swapped = 1; }
void nvmlStubAdvanceMs(int ms) { manual_s += ms / 1000.0; }
int nvmlStubCalls(const char *function, int gpu) { return *calls_of(function, gpu); }

static void read_gpus(void) {
    const char *text = getenv("NVML_STUB_GPUS");
    char copy[2048], *rest = copy, *one;
    snprintf(copy, sizeof copy, "%s",
             text ? text : "NVIDIA GeForce RTX 4090|24564|150;NVIDIA GeForce RTX 3060|12288|100");
    num_gpus = 0;
    while ((one = strsep(&rest, ";")) && num_gpus < MAX_GPUS) {
        Gpu *gpu = &gpus[num_gpus];
        if (sscanf(one, "%95[^|]|%llu|%lf", gpu->name, &gpu->memory_mib, &gpu->watts) != 3) continue;
        gpu->index = num_gpus++;
    }
}

static void read_instances(void) {
    const char *text = getenv("NVML_STUB_MIG");
    char copy[1024], *rest = copy, *one;
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    num_instances = 0;
    while ((one = strsep(&rest, ";")) && num_instances < MAX_INSTANCES) {
        Gpu *instance = &instances[num_instances];
        if (sscanf(one, "%95[^|]|%llu", instance->name, &instance->memory_mib) != 2) continue;
        instance->index = MAX_GPUS + num_instances++;
    }
}

static void read_rules(void) {
    const char *text = getenv("NVML_STUB_ERRORS");
    char copy[2048], *rest = copy, *one;
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    while ((one = strsep(&rest, ";"))) {
        char *code = strchr(one, '='), *after = strchr(one, '#'), *gpu = strchr(one, '@');
        if (!code) continue;
        int number = atoi(code + 1);
        int from = after ? atoi(after + 1) : 0, index = gpu ? atoi(gpu + 1) : -1;
        one[strcspn(one, "@#=")] = '\0';
        nvmlStubError(one, index, from, number);
    }
}

int nvmlInitWithFlags(unsigned flags) {
    const char *code = getenv("NVML_STUB_INIT"), *clock = getenv("NVML_STUB_CLOCK");
    (void)flags;
    if (code) return atoi(code);
    if (started++) return OK;
    manual = clock && !strcmp(clock, "manual");
    start_s = manual ? 0 : now_s();
    num_rules = num_counts = 0;
    read_gpus();
    read_instances();
    read_rules();
    return OK;
}

int nvmlShutdown(void) { return started ? (started--, OK) : UNINITIALIZED; }

const char *nvmlErrorString(int code) { (void)code; return "an error of the stub"; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "999.99");
    return started ? OK : UNINITIALIZED;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = num_gpus;
    return started ? OK : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    if ((int)index >= num_gpus) return INVALID;
    *gpu = &gpus[index];
    return begin("nvmlDeviceGetHandleByIndex", *gpu);
}

int nvmlDeviceGetName(Gpu *gpu, char *name, unsigned length) {
    snprintf(name, length, "%s", gpu->name);
    return begin(__func__, gpu);
}

int nvmlDeviceGetUUID(Gpu *gpu, char *uuid, unsigned length) {
    const char *kind = gpu->index < MAX_GPUS ? "GPU" : "MIG";
    int number = gpu->index + 5 * gpu->swapped;
    snprintf(uuid, length, "%s-00000000-0000-0000-0000-%012x", kind, number);
    return begin(__func__, gpu);
}

/* 512 MiB are used, and the driver reserves 256 more, which version 1 counts as used. */
int nvmlDeviceGetMemoryInfo(Gpu *gpu, MemoryV1 *memory) {
    memory->total = gpu->memory_mib << 20;
    memory->used = 768ull << 20;
    memory->free = memory->total - memory->used;
    return begin(__func__, gpu);
}

#ifndef NVML_STUB_OLD
int nvmlDeviceGetMemoryInfo_v2(Gpu *gpu, MemoryV2 *memory) {
    memory->total = gpu->memory_mib << 20;
    memory->used = 512ull << 20;
    memory->reserved = 256ull << 20;
    memory->free = memory->total - memory->used - memory->reserved;
    return begin(__func__, gpu);
}
#endif

int nvmlDeviceGetUtilizationRates(Gpu *gpu, Utilization *rates) {
    const char *busy = getenv("NVML_STUB_BUSY");
    rates->gpu = busy ? atoi(busy) : 42;
    rates->memory = 17;
    return begin(__func__, gpu);
}

#ifndef NVML_STUB_OLD
int nvmlDeviceGetFieldValues(Gpu *gpu, int count, FieldValue *values) {
    for (int i = 0; i < count; i++) {
        int instant = values[i].field == FIELD_POWER_INSTANT, average = values[i].field == FIELD_POWER_AVERAGE;
        int module = values[i].scope == 1 ? 200 : 0; /* what the rest of a module draws */
        values[i].code = NOT_SUPPORTED; /* a field's own code, unlike the call's */
        if (instant) values[i].code = begin("POWER_INSTANT", gpu);
        if (average) values[i].code = begin("POWER_AVERAGE", gpu);
        values[i].type = 1;
        values[i].value.u = (gpu->watts + module - (average ? 10 : 0)) * 1000;
    }
    return begin(__func__, gpu);
}
#endif

/* The average trails the instant by ten watts, so that a test can tell them apart. */
int nvmlDeviceGetPowerUsage(Gpu *gpu, unsigned *milliwatts) {
    *milliwatts = (gpu->watts - 10) * 1000;
    return begin(__func__, gpu);
}

int nvmlDeviceGetEnforcedPowerLimit(Gpu *gpu, unsigned *milliwatts) {
    const char *limit = getenv("NVML_STUB_LIMIT");
    *milliwatts = limit ? atoi(limit) * 1000 : gpu->watts * 2000;
    return begin(__func__, gpu);
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, u64 *millijoules) {
    const char *step = getenv("NVML_STUB_ENERGY_MS");
    double at_s = now_s(), step_s = step ? atoi(step) / 1000.0 : 0;
    if (step_s) at_s = (u64)(at_s / step_s + 1e-9) * step_s;
    *millijoules = 1000000 + gpu->watts * at_s * 1000 + 0.5;
    return begin(__func__, gpu);
}

int nvmlDeviceGetTemperature(Gpu *gpu, int sensor, unsigned *celsius) {
    *celsius = sensor == 0 ? 55 : 0;
    return begin(__func__, gpu);
}

/* Clock 1 is the multiprocessors', 2 the memory's. */
int nvmlDeviceGetClockInfo(Gpu *gpu, int clock, unsigned *mhz) {
    *mhz = clock == 1 ? 2520 : clock == 2 ? 10501 : 0;
    return begin(clock == 1 ? "SM_CLOCK" : "MEMORY_CLOCK", gpu);
}

static int read_reasons(const char *function, const Gpu *gpu, u64 *bits) {
    const char *text = getenv("NVML_STUB_REASONS");
    *bits = text ? strtoull(text, NULL, 0) : 0;
    return begin(function, gpu);
}

#ifndef NVML_STUB_OLD
int nvmlDeviceGetCurrentClocksEventReasons(Gpu *gpu, u64 *bits) {
    return read_reasons(__func__, gpu, bits);
}
#endif

int nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *gpu, u64 *bits) {
    return read_reasons(__func__, gpu, bits);
}

/* As the driver does: too small an array gets the number that would do, and a code. */
static int list_processes(const char *variable, const char *held, unsigned *count,
                          Process *processes) {
    const char *text = getenv(variable);
    char copy[256], *rest = copy, *one;
    unsigned found = 0, room = processes ? *count : 0;
    u64 memory = held && atoi(held) < 0 ? ~0ull : (u64)(held ? atoi(held) : 1024) << 20;
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    while ((one = strsep(&rest, ";"))) {
        if (!*one) continue;
        if (found < room) processes[found] = (Process){.pid = atoi(one), .memory = memory};
        found++;
    }
    *count = found;
    return found > room ? TOO_SMALL : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v2(Gpu *gpu, unsigned *count, Process *processes) {
    int code = begin("nvmlDeviceGetComputeRunningProcesses", gpu);
    const char *held = getenv("NVML_STUB_PROCESS_MIB");
    return code ? code : list_processes("NVML_STUB_COMPUTE", held, count, processes);
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(Gpu *gpu, unsigned *count, Process *processes) {
    int code = begin("nvmlDeviceGetGraphicsRunningProcesses", gpu);
    const char *held = getenv("NVML_STUB_DRAWING_MIB");
    if (!held) held = getenv("NVML_STUB_PROCESS_MIB");
    return code ? code : list_processes("NVML_STUB_GRAPHICS", held, count, processes);
}

#ifndef NVML_STUB_OLD
/* Spread the entries of a list over as much room as an entry has with its protected memory. */
static int widened(int code, unsigned count, Process *processes) {
    char *bytes = (char *)processes;
    size_t narrow = sizeof *processes, wide = narrow + sizeof(u64);
    if (code || !getenv("NVML_STUB_WIDE")) return code;
    while (count--) {
        memmove(bytes + count * wide, bytes + count * narrow, narrow);
        memset(bytes + count * wide + narrow, 0, sizeof(u64));
    }
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, Process *processes) {
    int code = nvmlDeviceGetComputeRunningProcesses_v2(gpu, count, processes);
    return widened(code, *count, processes);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *gpu, unsigned *count, Process *processes) {
    int code = nvmlDeviceGetGraphicsRunningProcesses_v2(gpu, count, processes);
    return widened(code, *count, processes);
}
#endif

int nvmlDeviceGetMaxPcieLinkGeneration(Gpu *gpu, unsigned *generation) {
    *generation = 4;
    return begin(__func__, gpu);
}

int nvmlDeviceGetMaxPcieLinkWidth(Gpu *gpu, unsigned *lanes) {
    *lanes = 16;
    return begin(__func__, gpu);
}

/* Five watts above the limit in force. */
int nvmlDeviceGetPowerManagementDefaultLimit(Gpu *gpu, unsigned *milliwatts) {
    *milliwatts = gpu->watts * 2000 + 5000;
    return begin(__func__, gpu);
}

/* The first card drives a display. */
int nvmlDeviceGetDisplayActive(Gpu *gpu, int *active) {
    *active = gpu->index == 0;
    return begin(__func__, gpu);
}

int nvmlDeviceGetPerformanceState(Gpu *gpu, int *state) {
    *state = 2;
    return begin(__func__, gpu);
}

int nvmlDeviceGetFanSpeed(Gpu *gpu, unsigned *percent) {
    *percent = 30;
    return begin(__func__, gpu);
}

/* The link idles. */
int nvmlDeviceGetCurrPcieLinkGeneration(Gpu *gpu, unsigned *generation) {
    *generation = 1;
    return begin(__func__, gpu);
}

int nvmlDeviceGetCurrPcieLinkWidth(Gpu *gpu, unsigned *lanes) {
    *lanes = 8;
    return begin(__func__, gpu);
}

int nvmlDeviceGetEccMode(Gpu *gpu, int *current, int *pending) {
    *current = 0;
    *pending = 1; /* from the next start on */
    return begin(__func__, gpu);
}

#ifndef NVML_STUB_OLD
int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    *current = gpu->index == 0 && num_instances;
    *pending = !*current;
    return begin(__func__, gpu);
}

int nvmlDeviceGetMaxMigDeviceCount(Gpu *gpu, unsigned *count) {
    *count = gpu->index == 0 ? MAX_INSTANCES : 0;
    return begin(__func__, gpu);
}

/* As on a real card, the last places are empty. */
int nvmlDeviceGetMigDeviceHandleByIndex(Gpu *gpu, unsigned place, Gpu **instance) {
    if ((int)place >= num_instances) return NOT_FOUND;
    *instance = &instances[place];
    return begin(__func__, gpu);
}
#endif

static unsigned health(int place) {
    const char *text = getenv("NVML_STUB_HEALTH");
    unsigned told[6] = {8, 9, 1, 0, 4, 13000};
    if (text) sscanf(text, "%u|%u|%u|%u|%u|%u", told, told + 1, told + 2, told + 3, told + 4, told + 5);
    return told[place];
}

int nvmlDeviceGetCudaComputeCapability(Gpu *gpu, int *major, int *minor) {
    *major = health(0), *minor = health(1);
    return begin(__func__, gpu);
}

int nvmlDeviceGetPersistenceMode(Gpu *gpu, unsigned *mode) {
    *mode = health(2);
    return begin(__func__, gpu);
}

/* Kind 1 are the errors that were not corrected, counter 0 those since boot. */
int nvmlDeviceGetTotalEccErrors(Gpu *gpu, int kind, int counter, u64 *errors) {
    *errors = kind == 1 && counter == 0 ? health(3) : 99;
    return begin(__func__, gpu);
}

int nvmlDeviceGetGpuMaxPcieLinkGeneration(Gpu *gpu, unsigned *generation) {
    *generation = health(4);
    return begin(__func__, gpu);
}

/* The addresses are 0000:01:00.0, 0000:02:00.0, ... */
int nvmlDeviceGetPciInfo_v3(Gpu *gpu, PciInfo *pci) {
    memset(pci, 0, sizeof *pci);
    pci->bus = gpu->index + 1;
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    return begin(__func__, gpu);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = health(5);
    return started ? OK : UNINITIALIZED;
}
