"""TLS to the broker, and its failures as sentences."""

from __future__ import annotations

import ssl
from pathlib import Path

from stt_mqtt.config import TlsConfig
from stt_mqtt.errors import BrokerError, is_old_tls

_BY_CLOCK = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
_WITHOUT_A_WORD = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """An SSL context that checks the certificate and host name of the broker; TLS 1.2 or later.

    The files are read at every call, so the next connection uses a renewed certificate.
    Raises BrokerError.
    """
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(config, key)
        if path is not None:
            _check_readable(f"mqtt.tls.{key}", Path(path))
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ValueError) as error:
        raise BrokerError(
            f"mqtt.tls.ca_file: {config.ca_file} is not a PEM file with certificates"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.ca_file is not None:
        # Private certificate authorities often lack an extension that Python 3.13 requires.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if config.cert_file is not None:
        try:
            # With an empty password OpenSSL does not ask on the terminal.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"mqtt.tls.cert_file: {config.cert_file} and its key cannot be used: the two must "
                "be PEM, belong together, and the key must not be encrypted"
            ) from error
    return context


def explain(error: Exception, address: str) -> str:
    """Why the connection to `address` failed, in one sentence without secrets."""
    if isinstance(error, BrokerError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        what_to_do = "check mqtt.tls.ca_file and that mqtt.host is the name in the certificate"
        if error.verify_code in _BY_CLOCK:
            what_to_do = "check the clock of this machine, or renew the certificate"
        return f"the certificate of {address} is not accepted: {error.verify_message}; {what_to_do}"
    if is_old_tls(error):
        return (
            f"{address} speaks only versions of TLS before 1.2; update the broker, or have it "
            "speak TLS 1.2 (tls_version of Mosquitto)"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS with {address} failed ({error.reason or error}); check the port and mqtt.tls"
    if isinstance(error, ConnectionResetError):
        # The port accepted the TCP connection and then closed it.
        return f"{address} hangs up: it may not expect TLS; check the port and mqtt.tls"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{address} cannot be reached: {text}"


def is_lasting(error: Exception) -> bool:
    """Whether TLS fails until a certificate or the configuration of a side is changed.

    A certificate that is not valid yet, or no longer, may be a matter of the clock. A program that
    hangs up without a word may be one that starts.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_code not in _BY_CLOCK
    return isinstance(error, ssl.SSLError) and not isinstance(error, _WITHOUT_A_WORD)


def _check_readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise BrokerError(f"{key}: {path} cannot be read: {error.strerror}") from error
