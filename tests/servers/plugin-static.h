/* SPDX-License-Identifier: Apache-2.0
 *
 * The modules that lighttpd links when it is built without shared ones. It
 * includes this more than once, with different meanings of PLUGIN_INIT.
 */
PLUGIN_INIT(mod_access)
PLUGIN_INIT(mod_accesslog)
PLUGIN_INIT(mod_alias)
PLUGIN_INIT(mod_dirlisting)
PLUGIN_INIT(mod_expire)
PLUGIN_INIT(mod_indexfile)
PLUGIN_INIT(mod_redirect)
PLUGIN_INIT(mod_rewrite)
PLUGIN_INIT(mod_setenv)
PLUGIN_INIT(mod_staticfile)
PLUGIN_INIT(mod_status)
