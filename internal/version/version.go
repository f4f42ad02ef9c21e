// Package version names this build.
package version
