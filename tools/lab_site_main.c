/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-lab-site: the vault's process for the lab, which accepts lab charters. Packaged apart and
 * absent from a node's package, so that no switch of a deployed vault can weaken it.
 */
#include <node/vault.h>
#include <sys/arguments.h>
#include <sys/memory.h>

int main(int argc, char **argv)
{
    struct nof1_vault_config config = {.program = "nof1-lab-site", .lab = true};
    const struct nof1_argument options[] = {
        {"dir", "DIR", &config.folder, NULL, "the site's folder", true},
        {"charter", "FILE", &config.charter, NULL, "the charter (canonical JSON)", true},
        {"site", "ID", &config.site, NULL, "this site's name on the charter", true},
        {"key", "FILE", &config.key, NULL, "the site's signing key (PEM, mode 0600)", true},
        {"socket", "PATH", &config.socket, NULL, "where the edge connects", true},
        {"policy", "FILE", &config.policy, NULL, "the site's limits (YAML)", false},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){
            "nof1-lab-site --dir DIR --charter FILE --site ID --key FILE --socket PATH [options]",
            "", options, 0},
        0, NULL, argc, argv, 1);
    nof1_json_memory();
    return code >= 0 ? code : nof1_vault_run(&config);
}
