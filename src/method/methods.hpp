#pragma once

#include "cos2p/method/method.hpp"

// One function per method, each in the file of its name; the three of FedAvg share one.
namespace cos2p::method {

Method co_s2p();
Method depthfl();
Method fedavg();
Method fedavg_drop();
Method fedavg_smallest();
Method federated_dropout();
Method fedrolex();
Method fjord();
Method heterofl();
Method ra_fed();
Method scalefl();
Method fiarse();
Method inclusivefl();

}  // namespace cos2p::method
