#define COS2P_KERNELS avx512
#define COS2P_LANES 16
#define COS2P_TILE_VECTORS 4
#include "cpu_kernels.inc"  // NOLINT(bugprone-suspicious-include)
