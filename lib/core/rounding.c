/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rounding of round parameters to 40 significant bits (docs/protocol.md, "Messages", 3), so that
 * the last bits in which two builds of the same software may differ do not matter. Integer
 * arithmetic on the significand: the same bits on every machine.
 */
#include <core/opening.h>

#include <math.h>

#define PARAMETER_BITS 40

double nof1_round_parameter(double value)
{
    if (!isfinite(value) || value == 0) {
        return value == 0 ? 0.0 : value; /* no negative zero: its bits would differ */
    }
    int exponent = 0;
    double significand = frexp(value, &exponent);
    /* a multiple of 2^-13 below 2^40: nearbyint in the default mode rounds half to even */
    return ldexp(nearbyint(ldexp(significand, PARAMETER_BITS)), exponent - PARAMETER_BITS);
}

bool nof1_parameter_close(double offered, double own)
{
    if (!isfinite(offered) || !isfinite(own) || nof1_round_parameter(offered) != offered) {
        return false;
    }
    double rounded = nof1_round_parameter(own);
    double larger = fmax(fabs(offered), fabs(rounded));
    if (larger == 0) {
        return true;
    }
    int exponent = 0;
    (void)frexp(larger, &exponent);
    return fabs(offered - rounded) <= ldexp(1.0, exponent - PARAMETER_BITS);
}
