/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What others can make this site write down (docs/protocol.md, "What a site stores at most"): its
 * ledger only grows, so a coordinator or an edge that floods it must run into a limit long before
 * the disk is full. What is left unanswered is counted, and the count is an entry of its own.
 */
#include <core/site_parts.h>

#define MINUTE 60000
#define DAY (INT64_C(86400) * 1000)
#define REFUSALS_A_MINUTE 60 /* of no attempt */
#define REFUSALS_A_DAY 1000
#define GREETINGS_A_MINUTE 30
#define GREETINGS_A_DAY 3000
#define CHARTERS_A_DAY 5     /* kept for the steward to look at */
#define TRIES_A_DAY 300      /* attempts, beside two for every query that the limits allow */

/* One more within a minute and a day? */
static bool take(struct site_flow *flow, int64_t now, uint64_t a_minute, uint64_t a_day)
{
    flow->in_minute = flow->minute == now / MINUTE ? flow->in_minute : 0;
    flow->in_day = flow->day == now / DAY ? flow->in_day : 0;
    flow->minute = now / MINUTE;
    flow->day = now / DAY;
    if (flow->in_minute >= a_minute || flow->in_day >= a_day) {
        return false;
    }
    flow->in_minute += 1;
    flow->in_day += 1;
    return true;
}

nof1_rc nof1_site_may_refuse(struct nof1_site *site, bool *may)
{
    *may = site->config.lab || take(&site->refusals, site->now, REFUSALS_A_MINUTE, REFUSALS_A_DAY);
    if (!*may) {
        site->unanswered += 1;
        return NOF1_OK;
    }
    if (site->unanswered == 0) {
        return NOF1_OK;
    }
    json_t *count = json_pack("{s:I}", "count", (json_int_t)site->unanswered);
    site->unanswered = 0;
    return nof1_site_append(site, "refusals.unanswered", NULL, count);
}

nof1_rc nof1_site_may_try(struct nof1_site *site)
{
    uint64_t most = TRIES_A_DAY + 2 * (uint64_t)site->config.policy.max_queries_day;
    if (!take(&site->tries, site->now, most, most)) {
        return nof1_fail(&site->error, NOF1_E2304, "too many attempts in a day");
    }
    return NOF1_OK;
}

bool nof1_site_may_keep_charter(struct nof1_site *site)
{
    return take(&site->charters, site->now, CHARTERS_A_DAY, CHARTERS_A_DAY);
}

bool nof1_site_may_greet(struct nof1_site *site)
{
    return take(&site->greetings, site->now, GREETINGS_A_MINUTE, GREETINGS_A_DAY);
}
