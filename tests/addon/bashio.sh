#!/usr/bin/env bash
# Stands in for bashio: the functions that the add-on calls, against the Supervisor at
# $SUPERVISOR_API. As there, what is missing is printed as the word "null".
set -o errexit -o errtrace -o nounset -o pipefail
shopt -s inherit_errexit

readonly token="${SUPERVISOR_TOKEN}"

supervisor() {
    local method=${1} path=${2} body=${3:-'{}'}
    local answer
    answer="$(curl --silent --fail --max-time 10 --noproxy '*' --request "${method}" \
        --header "Authorization: Bearer ${token}" --data-binary "${body}" \
        "${SUPERVISOR_API}${path}")" || return 1
    jq --exit-status '.result == "ok"' <<<"${answer}" >/dev/null || return 1
    jq '.data' <<<"${answer}"
}

bashio::services.available() {
    supervisor GET "/services/${1}" >/dev/null
}

bashio::services() {
    supervisor GET "/services/${1}" | jq --raw-output --arg key "${2}" '.[$key]'
}

bashio::config() {
    supervisor GET /addons/self/options/config |
        jq --raw-output --arg key "${1}" --arg default "${2:-null}" \
            'if .[$key] == null then $default else .[$key] end'
}

bashio::config.has_value() {
    local value
    value="$(bashio::config "${1}")"
    [[ -n "${value}" && "${value}" != 'null' ]]
}

bashio::discovery() {
    local message
    message="$(jq --null-input --arg service "${1}" --argjson config "${2}" \
        '{service: $service, config: $config}')"
    supervisor POST /discovery "${message}" | jq --raw-output '.uuid'
}

bashio::var.json() {
    jq --null-input --arg key "${1}" --arg value "${2}" '{($key): $value}'
}

bashio::var.has_value() {
    [[ -n "${1}" ]]
}

bashio::var.true() {
    [[ "${1}" == 'true' ]]
}

bashio::log.info() {
    echo "INFO: $*" >&2
}

bashio::log.warning() {
    echo "WARNING: $*" >&2
}

bashio::log.error() {
    echo "ERROR: $*" >&2
}

script=${1}
shift
# shellcheck source=/dev/null
source "${script}" "$@"
