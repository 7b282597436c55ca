#define COS2P_KERNELS avx2
#define COS2P_LANES 8
#define COS2P_TILE_VECTORS 2
#include "cpu_kernels.inc"  // NOLINT(bugprone-suspicious-include)
