#define COS2P_KERNELS baseline
#define COS2P_LANES 4
#define COS2P_TILE_VECTORS 2
#include "cpu_kernels.inc"  // NOLINT(bugprone-suspicious-include)
