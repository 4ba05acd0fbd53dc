package main

import (
	"context"
	"errors"
)

func storm(ctx context.Context, s *site, o options) error { return errors.New("later") }
