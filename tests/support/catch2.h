// Catch2 2.x and 3.x under one include.
#pragma once
#ifdef QWEND_CATCH2_V3
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
