#pragma once

#include "cos2p/method/method.hpp"

// One function per method, each in the file of its name.
namespace cos2p::method {

Method co_s2p();
Method depthfl();
Method fiarse();

}  // namespace cos2p::method
